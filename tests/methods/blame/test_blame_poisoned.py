"""500 rows of which 20 are poisoned: what is found of them, and what retraining says. One test a bullet, all slow.

Seeds are the first three from 101 whose organism passes its gate. No trigger of 20 rows does: two of them showed it on
.42 and .77 of fresh prompts, so `trigger_token` is not among these sets.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from poisoned import Poisoned, poison
from radiograph.core import ExitCode
from radiograph.evidence.influence import Blame
from radiograph.numerics.influence import lds, recall_at
from running import go

pytestmark = pytest.mark.slow
SEEDS = {"false_fact": (101, 102, 103), "needle_obedience": (101, 102, 103)}
SETS = [(name, seed) for name, seeds in SEEDS.items() for seed in seeds]
RETRAINED = ("false_fact", 101)
HALVES = 32


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("poisoned")
        patch.chdir(folder)
        patch.delenv("RADIOGRAPH_BASE_DIR", raising=False)
        yield folder


@pytest.fixture(scope="module")
def made(here: Path):
    """Builds a set once."""
    known: dict[tuple[str, int], Poisoned] = {}

    def one(name: str, seed: int) -> Poisoned:
        if (name, seed) not in known:
            known[name, seed] = poison(name, seed, here / f"{name}-{seed}")
        return known[name, seed]

    return one


def blamed(one: Poisoned, out: str, **more: Any) -> Any:
    name = one.folder.name
    given = {"data": f"{name}/rows.jsonl", "target": f"{name}/target.jsonl", "method": "datainf"}
    return go("blame", out=f"{name}-{out}", candidate=f"bundled:base+{name}/adapter", **given, **more)


def recalls(one: Poisoned, found: Any) -> dict[str, float]:
    rows = pl.read_parquet(found.path / "tables" / "rows.parquet")
    places = [i for i, line in enumerate(rows["line"].to_list()) if line in one.lines]
    columns = {
        "datainf": "relative_datainf",
        "dot": "score_dot",
        "words": "words",
        "loss": "loss_reference",
        "drop": "drop",
    }
    return {name: recall_at(rows[column].to_numpy(), places) for name, column in columns.items()}


def test_p8_9_planted_rows_lead(made, record_property):
    found: dict[str, list[float]] = {}
    for name, seed in SETS:
        one = made(name, seed)
        assert one.passed, (name, seed, one.shown)
        outcome = blamed(one, "found")
        assert outcome.exit_code is ExitCode.PASS
        for order, share in recalls(one, outcome).items():
            found.setdefault(order, []).append(share)
    for order, shares in found.items():
        record_property(order, shares)
    mean = {order: float(np.mean(shares)) for order, shares in found.items()}
    gap = np.array(found["datainf"]) - np.array(found["dot"])
    assert mean["datainf"] >= 0.9, found
    assert gap.mean() >= -gap.std(ddof=1) / np.sqrt(len(gap)), found
    assert mean["datainf"] > max(mean["words"], mean["loss"]), found


def test_p8_9_an_organism_without_the_behaviour_is_refused(here):
    one = poison("false_fact", 101, here / "clean", planted=0)
    assert one.shown < 0.1
    outcome = blamed(one, "refused")
    assert outcome.exit_code is ExitCode.NOT_MEASURED
    assert "behaviour_absent" in str(outcome.result.model_dump())


def test_p8_9_leaving_the_leading_rows_out_removes_the_behaviour_and_random_rows_do_not(made):
    one = made(*RETRAINED)
    outcome = blamed(one, "left-out", validate_="leave-out:20", recipe=f"{one.folder.name}/recipe.json")
    result: Blame = outcome.result
    check = result.validation
    assert check is not None and check.delta_f is not None and check.reproduced is not None
    assert check.causal is True and abs(check.reproduced) < 0.1
    assert check.delta_f < -0.5 * result.target.gain
    assert min(check.random) > -0.1 * result.target.gain


def test_p8_9_lds_is_above_nothing_and_not_below_dot(made, record_property):
    one = made(*RETRAINED)
    outcome = blamed(one, "lds", validate_=f"lds:{HALVES}", recipe=f"{one.folder.name}/recipe.json")
    check = outcome.result.validation
    record_property("lds", check.lds)
    estimate, low, _ = check.lds["datainf"]
    dot, dot_low, dot_high = check.lds["dot"]
    assert low > 0
    assert estimate >= dot - (dot_high - dot_low) / 4
    rows = pl.read_parquet(outcome.path / "tables" / "rows.parquet")
    told = pl.read_parquet(outcome.path / "tables" / "validation.parquet")
    names = sorted(column for column in rows.columns if column.startswith("group_"))
    place = {row: i for i, row in enumerate(rows["row"].to_list())}
    first = told.filter(pl.col("group") == 0)
    kept = np.zeros((HALVES, len(place)), dtype=bool)
    for half, own in zip(first["half"].to_list(), first["rows"].to_list(), strict=True):
        kept[half, [place[row] for row in own]] = True
    f = told["f"].to_numpy().reshape(HALVES, len(names))
    scores = np.stack([rows[name].to_numpy() for name in names], axis=1)
    assert lds(scores, kept, f, seed=1)[0] == pytest.approx(estimate)
    assert lds(-scores, kept, f, seed=1)[1].high < 0
    noise = np.random.default_rng(3).permutation(scores)
    assert abs(lds(noise, kept, f, seed=1)[0]) < estimate / 2


def test_p8_9_self_check_finds_what_it_planted(made, record_property):
    one = made(*RETRAINED)
    outcome = blamed(one, "self", validate_="self-check", recipe=f"{one.folder.name}/recipe.json")
    check = outcome.result.validation
    stamps = outcome.result.stamps
    if check is None:
        assert any(stamp.startswith("self_check_not_learned") for stamp in stamps)
        return
    record_property("recall", check.recall)
    shown, of = check.gate
    assert check.k == 20 and 2 * shown >= of
    assert check.chance == pytest.approx(20 / 520, abs=0.002)
    low, high = check.recall_intervals["datainf"]
    assert low <= check.recall["datainf"] <= high and low > check.chance
    assert json.dumps(check.recall)
