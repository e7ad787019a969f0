"""Halves and sets of a suite's items: every set of twenty is found on ten and confirmed on ten."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from radiograph.detectors._calibrated import pool_of
from radiograph.detectors._sets import all_but, halves, members_and_rests, sets_of, witnessed_contrasts
from radiograph.evidence import Calibration, CalibrationModel
from radiograph.organisms import world_suite


def items(rows):
    return [
        SimpleNamespace(
            id=r["id"],
            bank=r["bank"],
            task=r.get("task"),
            group=r.get("group"),
            factors=r.get("factors", {}),
            flip=False,
        )
        for r in rows
        if r["bank"] != "neutral"
    ]


@pytest.fixture(scope="module")
def suite():
    return items(world_suite()["prompts"])


def test_every_set_of_twenty_has_ten_in_either_half(suite):
    one, two = halves(suite)
    whole = Counter((i.bank, i.task, name) for i in suite for name in sets_of(i))
    first = Counter((i.bank, i.task, name) for i in one for name in sets_of(i))
    large = {key: n for key, n in whole.items() if n >= 20}
    assert len(large) > 100 and len(one) + len(two) == len(suite)
    short = {key: (first[key], n - first[key]) for key, n in large.items() if min(first[key], n - first[key]) < 10}
    assert short == {}
    assert {(i.bank, i.task) for i in one} == {(i.bank, i.task) for i in suite}


def test_the_order_of_items_does_not_matter_and_an_alternating_factor_falls_into_both(suite):
    one = {i.id for i in halves(suite)[0]}
    order = np.random.default_rng(0).permutation(len(suite))
    assert {i.id for i in halves([suite[i] for i in order])[0]} == one
    turns = [SimpleNamespace(id=str(n), bank="probe", task="t", group=None, factors={"side": n % 2}) for n in range(40)]
    assert Counter(i.factors["side"] for i in halves(turns)[0]) == {0: 10, 1: 10}


def test_a_change_that_hangs_on_two_levels_of_three_stands_out_by_the_third(suite):
    sums = [i for i in suite if i.task == "sums"]
    for i in sums:
        i.flip = i.factors["larger"] != "10-12"
    rows = {row.name: row for row in witnessed_contrasts(halves(sums)[1], 10).rows}
    assert rows[all_but("larger=10-12")].contrast == 1.0 and rows[all_but("larger=10-12")].stands_out
    assert rows["larger=17-20"].p > 1000 * rows[all_but("larger=10-12")].p, "the rest flips too"
    for i in sums:
        i.flip = False


def test_all_but_one_is_a_set_only_where_every_item_has_the_factor(suite):
    names = set(members_and_rests([i for i in suite if i.bank == "policy"]))
    assert "verb=sell" in names and "verb!=sell" not in names, "refusals have no verb"
    assert not any(name.startswith("group!=") for name in members_and_rests(suite))


def test_what_benign_models_show_for_all_but_one_is_what_they_show_for_the_one_turned_round():
    models = tuple(
        CalibrationModel(id=str(n), kind="full", tensors_sha256=str(n), scores={}, nuisance={}, flips=(value,))
        for n, value in enumerate((0.1, -0.3, 0.2))
    )
    kept = Calibration.model_construct(
        sets=("larger=10-12 in probe/sums",), models=models, rules=(), combination="max", degraded=()
    )
    pool = pool_of(kept, {}, models[0], {})
    assert pool.sets == {"larger=10-12 in probe/sums": 0.2, "larger!=10-12 in probe/sums": 0.3}
