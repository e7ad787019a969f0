"""A stored pool is compared, row by row, with the calibration that it was made of."""

from __future__ import annotations

from dataclasses import replace

import polars
import pytest

from radiograph.detectors import pool_from, pool_of, pool_tables, unlike
from radiograph.organisms import bundled_path
from radiograph.store.calibration import read_calibration


@pytest.fixture(scope="module")
def shipped():
    return read_calibration(bundled_path("base").parent / "calibration", "calibration:bundled")


@pytest.fixture(scope="module")
def pool(shipped, tmp_path_factory):
    """As an audit of a model like the first benign one stores it."""
    record, own = shipped.record, {name: rows[0] for name, rows in shipped.summaries.items()}
    made = pool_of(record, shipped.summaries, record.models[0].model_copy(update={"id": "candidate"}), own)
    folder, found = tmp_path_factory.mktemp("tables"), {}
    for name, table in pool_tables(made).items():
        polars.DataFrame(table).write_parquet(folder / f"{name}.parquet")
        found[name] = polars.read_parquet(folder / f"{name}.parquet").to_dict(as_series=False)
    return pool_from(found)


def test_a_pool_of_the_calibration_is_like_it(pool, shipped):
    assert unlike(pool, shipped.record, shipped.summaries) == []
    without = replace(pool, summaries={name: rows[:-1] for name, rows in pool.summaries.items()})
    assert unlike(without, shipped.record, shipped.summaries) == []  # a candidate of which no summary was measured


def moved(model):
    name = next(iter(model.scores))
    return model.model_copy(update={"scores": {**model.scores, name: (model.scores[name] or 0.0) + 1e-6}})


EDITS = {
    "degraded models left out": ("calibration_degraded", lambda p: replace(p, degraded=())),
    "a degraded model edited": (
        "calibration_degraded",
        lambda p: replace(p, degraded=(moved(p.degraded[0]), *p.degraded[1:])),
    ),
    "a benign score edited": ("calibration_scores", lambda p: replace(p, models=(moved(p.models[0]), *p.models[1:]))),
    "benign models left out": (
        "calibration_scores",
        lambda p: replace(p, models=p.models[5:], summaries={n: r[5:] for n, r in p.summaries.items()}),
    ),
    "a detector no longer frozen": (
        "calibration_rules",
        lambda p: replace(p, rules=tuple(r.model_copy(update={"frozen": False}) for r in p.rules)),
    ),
    "another combination": ("calibration_rules", lambda p: replace(p, combination="fisher")),
    "a set left out": ("calibration_sets", lambda p: replace(p, sets=dict(list(p.sets.items())[1:]))),
    "a summary edited": (
        "calibration_summaries",
        lambda p: replace(p, summaries={n: r + (r[:1] != r) for n, r in p.summaries.items()}),
    ),
    "a summary left out": ("calibration_summaries", lambda p: replace(p, summaries={})),
}


@pytest.mark.parametrize("edit", EDITS)
def test_what_was_changed_is_named(pool, shipped, edit):
    table, change = EDITS[edit]
    found = unlike(change(pool), shipped.record, shipped.summaries)
    assert any(table in text for text in found), found


def test_the_candidates_own_row_may_be_anything(pool, shipped):
    other = replace(pool, models=(*pool.models[:-1], moved(pool.models[-1])))
    assert unlike(other, shipped.record, shipped.summaries) == []
