"""Verify notices every change, says where, and needs no torch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from radiograph.core import ExitCode, FormatError, UserError
from radiograph.evidence import OutputRecord, document_sha256
from radiograph.runtime import find, verify
from radiograph.store import MANIFEST, SIDECAR, evidence_sha256, file_sha256
from running import contents, go, numbers

pytestmark = pytest.mark.usefixtures("toy", "workspace")


@pytest.fixture
def bundle(workspace) -> Path:
    return go("toy.twice", data=str(numbers(workspace / "x.txt", 1, 2, 4)), out="run").path


def test_untouched_is_intact(bundle):
    found = verify(bundle)
    assert (found.status, found.exit_code, found.problems) == ("intact", ExitCode.PASS, ())
    assert any("verdict and scores" in text for text in found.recomputed)


def test_one_flipped_bit_in_any_file_is_noticed(bundle):
    names = list(contents(bundle))
    assert len(names) > 15
    for name in names:
        path = bundle / name
        data = path.read_bytes()
        for place in {0, len(data) // 2, len(data) - 1} if data else set():
            path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
            found = verify(bundle)
            assert found.exit_code is ExitCode.GATE_FAILED, (name, place)
            assert any(name.startswith(p.path) or p.path.startswith(name) for p in found.problems) or (
                name in (MANIFEST, SIDECAR)
            ), (name, found.problems)
        path.write_bytes(data)
    assert verify(bundle).status == "intact"


def test_a_file_added_or_removed_is_noticed(bundle):
    for name in contents(bundle):
        data = (bundle / name).read_bytes()
        (bundle / name).unlink()
        assert verify(bundle).exit_code is ExitCode.GATE_FAILED, name
        (bundle / name).write_bytes(data)
    for name in ("more.txt", "steps/1-toy.mean/tables/more.parquet", "steps/1-toy.mean/more", ".hidden"):
        (bundle / name).write_text("more")
        found = verify(bundle)
        assert found.exit_code is ExitCode.GATE_FAILED
        assert any(p.path == name for p in found.problems)
        (bundle / name).unlink()


def test_a_link_in_place_of_a_file_is_noticed(bundle, tmp_path_factory):
    away = tmp_path_factory.mktemp("away") / "result.json"
    shutil.move(bundle / "result.json", away)
    (bundle / "result.json").symlink_to(away)
    assert verify(bundle).exit_code is ExitCode.GATE_FAILED


def reseal(bundle: Path, name: str, data: bytes) -> None:
    """What a forger does: change a file, then redo every hash."""
    (bundle / name).write_bytes(data)
    manifest = json.loads((bundle / MANIFEST).read_text())
    for output in manifest["outputs"]:
        output["sha256"] = file_sha256(bundle / output["path"])
        output["bytes"] = (bundle / output["path"]).stat().st_size
    manifest["evidence_sha256"] = evidence_sha256([OutputRecord(**o) for o in manifest["outputs"]])
    (bundle / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
    (bundle / SIDECAR).write_text(f"{file_sha256(bundle / MANIFEST)}  {MANIFEST}\n")


def test_a_changed_score_with_all_hashes_redone_no_longer_follows(workspace):
    bundle = go("toy.mean", data=str(numbers(workspace / "x.txt", 1, 2, 4)), out="run").path
    result = json.loads((bundle / "result.json").read_text())
    reseal(bundle, "result.json", (json.dumps({**result, "mean": 9.0}, indent=1) + "\n").encode())
    found = verify(bundle)
    assert found.exit_code is ExitCode.GATE_FAILED
    assert any("table gives" in p.text for p in found.problems)


def test_a_bundle_rewritten_as_a_whole_is_caught_by_its_seal(workspace):
    outcome = go("toy.mean", data=str(numbers(workspace / "x.txt", 1, 2, 4)), out="run")
    reseal(outcome.path, "result.json", (outcome.path / "result.json").read_bytes().replace(b'"n": 3', b'"n": 4'))
    for name in ("report.md", "report.html"):
        reseal(outcome.path, name, (outcome.path / name).read_bytes())
    found = verify(outcome.path, outcome.seal)
    assert found.exit_code is ExitCode.GATE_FAILED
    assert any("seal" in p.text for p in found.problems)


def test_a_transcript_entry_changed_dropped_swapped_or_cut_is_named(workspace):
    bundle = go("toy.slow", files=4, pause=0, out="run").path
    log = bundle / "tool_calls.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    forged = {
        "changed": [lines[0], lines[1].replace(b"file 1", b"file X"), *lines[2:]],
        "dropped": [lines[0], *lines[2:]],
        "swapped": [lines[0], lines[2], lines[1], lines[3]],
        "inserted": [lines[0], lines[0], *lines[1:]],
        "cut": lines[:3],
        "empty": [],
    }
    for kind, entries in forged.items():
        reseal(bundle, log.name, b"".join(entries))
        found = verify(bundle)
        assert found.exit_code is ExitCode.GATE_FAILED, kind
        assert any("entr" in p.text and p.path == log.name for p in found.problems), kind
    reseal(bundle, log.name, b"".join(lines))
    assert verify(bundle).status == "intact"


def test_a_newer_schema_cannot_be_verified(bundle):
    manifest = json.loads((bundle / MANIFEST).read_text())
    (bundle / MANIFEST).write_text(json.dumps({**manifest, "schema": "radiograph.manifest/99"}))
    assert verify(bundle).exit_code is ExitCode.NOT_MEASURED


def test_what_is_no_bundle_is_bad_input(workspace):
    with pytest.raises(UserError):
        verify(workspace / "nothing")
    with pytest.raises(FormatError):
        verify(workspace)


def test_torch_stays_out(bundle, toy_site):
    code = f"import sys; from radiograph.surfaces.cli._main import run; c = run(['verify', {str(bundle)!r}]); " + (
        "print(c, *(m for m in ('torch', 'transformers') if m in sys.modules))"
    )
    env = {"PYTHONPATH": str(toy_site), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=60)
    assert done.stdout.splitlines()[-1] == "0", done.stderr


def test_identical_configs_have_identical_hashes():
    assert document_sha256({"a": 1, "b": 2}) == document_sha256({"b": 2, "a": 1})


def resealed(bundle: Path, **changes: object) -> None:
    """A manifest of other words, sealed again."""
    manifest = json.loads((bundle / MANIFEST).read_text())
    (bundle / MANIFEST).write_text(json.dumps({**manifest, **changes}, indent=1, ensure_ascii=False) + "\n")
    (bundle / SIDECAR).write_text(f"{file_sha256(bundle / MANIFEST)}  {MANIFEST}\n")


@pytest.mark.parametrize("name", ["report.md", "report.html"])
def test_a_word_of_a_report_with_all_hashes_redone_no_longer_follows(bundle, name):
    was = (bundle / name).read_bytes()
    assert b"pass" in was
    reseal(bundle, name, was.replace(b"pass", b"fine", 1))
    assert [(p.path, "written again" in p.text) for p in verify(bundle).problems] == [(name, True)]


def test_reports_of_another_build_are_not_called_changed_and_said_to_be_taken_as_written(bundle):
    assert verify(bundle).as_written == ()
    reseal(bundle, "report.md", b"# in the words of another build\n")
    for changes in ({"wording": "0" * 64}, {"wording": None}, {"tool_version": "0.0.1"}):
        resealed(bundle, **changes)
        found = verify(bundle)
        assert (found.status, found.problems) == ("intact", ())
        assert "taken as written: the words of the reports" in found.headline


def test_an_exit_code_that_is_not_that_of_the_result_is_noticed(bundle):
    resealed(bundle, exit_code=2)
    assert any(p.path == MANIFEST and "exit_code" in p.text for p in verify(bundle).problems)


def test_a_bundle_under_the_name_of_another_verb_is_noticed(bundle):
    resealed(bundle, verb="weights.diff")
    assert verify(bundle).status == "changed"


def test_a_run_that_is_said_to_be_refused_is_noticed(bundle):
    resealed(bundle, status="refused")
    assert verify(bundle).status == "changed"


def test_what_other_rules_made_is_unverifiable_and_not_changed(workspace):
    (workspace / "h").mkdir()
    for number, code in enumerate((0, 0, 1)):
        (workspace / "h" / f"checkpoint-{number}").mkdir()
        (workspace / "h" / f"checkpoint-{number}" / "run").write_text(f"exit {code}\n")
    bundle = go("bisect", folder="h", eval_="sh {ckpt}/run", out="found").path
    assert verify(bundle).status == "intact"
    for rules in ({}, {"bisect": 99}, {"bisect": 1, "more": 1}):
        resealed(bundle, rules=rules)
        found = verify(bundle)
        assert (found.status, found.exit_code) == ("unverifiable", ExitCode.NOT_MEASURED)
        assert "other detectors or rules" in found.problems[0].text


def test_each_verb_whose_conclusions_are_derived_from_tables_of_probes_keeps_versions_of_its_rules():
    verbs = ("probe.build", "probe.defection", "probe.truth", "probe.harm", "probe.pack", "probe.sae-diff")
    for key in (*verbs, "probe.interference", "blame", "bisect", "diagnose"):
        assert find(key).rules, key
