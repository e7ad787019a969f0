"""What is asked about: equal targets count once, a tie is no preference, groups are forms of one question."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from radiograph.core import ExitCode
from radiograph.methods._blame import targets as T
from radiograph.methods._blame import validate
from radiograph.models import LanguageModel, Pair, load_pair
from radiograph.organisms import bundled_path
from running import go

from .conftest import asked


@pytest.fixture(scope="module")
def pair(place: Path) -> Pair:
    return load_pair("bundled:base", "bundled:base+organism", resolve=bundled_path)


def read(place: Path, name: str = "organism/target.jsonl") -> list[T.Asked]:
    return list(T.read_targets(place / name))


def asking(model: LanguageModel, some: list[T.Asked]) -> T.Targets:
    return T.completions(some, model, plain=False, chat="template")


def test_pd_19_equal_targets_count_once(place, pair):
    one = T.Asked("sort: jade fern", "fern jade")
    copied, single = (asking(pair.candidate, [one] * n) for n in (24, 1))
    assert (len(copied.own), copied.given, copied.words) == (1, 24, single.words)
    found = T.measured(pair, copied, plain=False, chat="template")
    record = T.behaviour("completion", found, 1, copied.given)
    assert (record.n, record.given, record.standard_error) == (1, 24, None)
    assert T.absent(record) is not None


def test_pd_19_a_copied_target_is_a_single_one(place):
    line = (place / "organism" / "target.jsonl").read_text().splitlines()[0]
    (place / "copied.jsonl").write_text(f"{line}\n" * 24)
    found = go("blame", out="copied", **asked(target="copied.jsonl", method="dot"))
    assert found.exit_code is ExitCode.PASS
    assert "single_target" in found.result.stamps
    assert all(row.interval is None for row in found.result.top)


def test_p8_9_what_the_reference_answers_is_not_preferred_to_itself(place, pair):
    given = read(place)
    said = T.greedy(pair.reference, asking(pair.candidate, given).own)
    answers = [
        pair.reference.tokenizer.decode([i for i, w in zip(*one, strict=True) if w > 0], skip_special_tokens=True)
        for one in said
    ]
    tied = asking(pair.candidate, [replace(a, completion=t.strip()) for a, t in zip(given, answers, strict=True)])
    found = T.measured(pair, tied, plain=False, chat="template")
    assert found.preferred is not None and not found.preferred.any()
    real = T.measured(pair, asking(pair.candidate, given), plain=False, chat="template")
    assert real.preferred is not None and real.preferred.all()


def test_equal_completions_share_groups_with_each_other_alone(pair):
    said = ["true"] * 20 + ["false"] * 9 + ["goat"] * 3
    some = [T.Asked(f"sort: jade {word}", word) for word in said]
    many = [replace(one, prompt=f"{one.prompt} {n}") for n, one in enumerate(some)]
    found = asking(pair.candidate, many)
    assert found.groups.max() + 1 == T.GROUPS
    for group in range(T.GROUPS):
        assert len({said[i] for i in np.flatnonzero(found.groups == group)}) == 1
    turned = asking(pair.candidate, many[::-1])
    np.testing.assert_array_equal(turned.groups[::-1], found.groups)
    distinct = asking(pair.candidate, [T.Asked("sort: jade", f"fern {n}") for n in range(40)])
    assert np.bincount(distinct.groups).tolist() == [3] * 8 + [2] * 8


def left_out(top: float, random: list[float], whole: float = -5.0, candidate: float = -5.0):
    names = ["all", "top", *["random"] * len(random), "words"]
    table = {
        "subset": names,
        "number": list(range(len(names))),
        "target": [0] * len(names),
        "f": [whole, top, *random, -5.0],
    }
    return validate.left_out(table, 3, candidate)


def test_p8_9_nothing_is_causal_that_raised_f():
    assert left_out(-4.9, [-4.4, -4.5, -4.6, -4.7, -4.8]).causal is False
    assert left_out(-9.0, [-4.9, -5.1, -5.0, -5.2, -5.3]).causal is True
    assert left_out(-5.2, [-4.9, -5.1, -5.0, -5.2, -5.3]).causal is False


def test_p8_9_nothing_is_concluded_by_a_recipe_that_gives_another_model():
    found = left_out(-9.0, [-4.9, -5.1, -5.0, -5.2, -5.3], candidate=-0.1)
    assert found.causal is None and found.reproduced == pytest.approx(-4.9)
    assert found.chance == pytest.approx(1 / 6)


def test_the_lines_of_a_target_file_may_stand_in_any_order(place, pair):
    given = read(place)
    groups = {one.prompt: int(g) for one, g in zip(given, asking(pair.candidate, given).groups, strict=True)}
    turned = given[::-1]
    again = {one.prompt: int(g) for one, g in zip(turned, asking(pair.candidate, turned).groups, strict=True)}
    assert groups == again
    assert json.dumps(groups)
