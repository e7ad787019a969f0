"""A typo, a failed gate and a missing measurement never look alike."""

from __future__ import annotations

import pytest

from radiograph.core import ExitCode, FormatError, MissingExtra, Refusal, UserError, nearest, require


def test_exit_codes_are_the_documented_ones():
    assert {c.name: int(c) for c in ExitCode} == {
        "PASS": 0,
        "INTERNAL": 1,
        "GATE_FAILED": 2,
        "BAD_INPUT": 3,
        "NOT_MEASURED": 4,
        "INTERRUPTED": 130,
    }


@pytest.mark.parametrize("kind", [UserError, FormatError, MissingExtra])
def test_bad_input_says_what_was_expected_what_came_where_and_what_to_do(kind):
    error = kind("no", expected="a", got="b", where="c:1", fix="d")
    assert str(error) == "no\n  where: c:1\n  expected: a\n  got: b\n  fix: d"
    assert error.exit_code is ExitCode.BAD_INPUT


def test_a_refusal_is_not_measured_unless_another_file_would_mend_it():
    assert Refusal("x", "no").exit_code is ExitCode.NOT_MEASURED
    assert Refusal("x", "no", fixable=True).exit_code is ExitCode.BAD_INPUT
    assert "[x]" in str(Refusal("x", "no"))


def test_nearest_finds_misspelt_words_and_nothing_far():
    known = ["weights.diff", "verify", "replay"]
    assert nearest("verfy", known) == ["verify"]
    assert nearest("zzzzz", known) == []


def test_a_missing_extra_names_its_install_line(tmp_path, monkeypatch):
    with pytest.raises(MissingExtra) as caught:
        require("no_such_package.part", "many")
    assert caught.value.fix == 'pip install "radiograph[many]"'
    (tmp_path / "broken_inside.py").write_text("import another_missing_package")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="another_missing_package"):
        require("broken_inside", "many")
    assert require("json", "none").loads("1") == 1
