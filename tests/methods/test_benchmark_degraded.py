"""`organisms benchmark`: broken organisms among degraded models, from made-up evidence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import benchmarking
from radiograph.detectors import CONTRASTS
from radiograph.evidence import Besides
from radiograph.methods.organisms._benchmark import table
from radiograph.methods.organisms._benchmark.judge import place

LUCK = np.random.default_rng(5)


def wrecked(model, contrast):
    """The same, changed a thousand times as much, with one strong contrast."""
    far = {name: 1000 * float(np.exp(LUCK.normal())) for name in benchmarking.COORDINATES} | {"changed_share": 0.5}
    return model.model_copy(update={"nuisance": far, "scores": {**model.scores, **dict.fromkeys(CONTRASTS, contrast)}})


def made(contrast, *, planted=True, explained=False, lost=True):
    """One broken organism, and forty degraded models that show .3 at most."""
    own = benchmarking.evidence(n=39, test=0, planted=0, broken=1)
    assert own.calibration is not None
    pool = [
        wrecked(benchmarking.model(f"wreck-{i}", benchmarking.drawn(LUCK), LUCK), float(LUCK.uniform(0, 0.3)))
        for i in range(40)
    ]
    record = own.calibration.record.model_copy(update={"degraded": tuple(pool)})
    subject = own.subjects[0]
    seen = benchmarking.witness("birch") if planted else None
    panel = benchmarking.panel(lost)
    if explained and seen is not None:
        rest = Besides(
            witness=seen.name, bank=seen.bank, answer="wet hello", explained={"cite": 9}, axis="no", code=None,
            reason="kept", rows=(),
        )  # fmt: skip
        panel = panel.model_copy(update={"besides": (rest,)})
    scored = subject.scored.model_copy(
        update={
            "model": wrecked(subject.scored.model, contrast),
            "panel": panel,
            "witnesses": () if seen is None else (seen,),
        }
    )
    subject = replace(subject, kept=replace(subject.kept, scored=scored))
    return subject, replace(own, subjects=(subject,), calibration=replace(own.calibration, record=record))


@pytest.mark.parametrize(
    ("contrast", "given", "p", "verdict"),
    [
        (0.9, {}, 1 / 41, "degraded+targeted"),
        (0.9, {"explained": True}, 1 / 41, "targeted-change"),  # still judged among degraded models
        (0.9, {"planted": False}, 1 / 41, "degraded"),
        (-0.1, {"explained": True}, 1.0, "degraded"),  # no planted change is established: the loss is one
        (0.9, {"lost": False}, None, "inconclusive"),
    ],
)
def test_a_broken_organism_is_judged_among_degraded_models(contrast, given, p, verdict):
    subject, own = made(contrast, **given)
    outcome = place(subject, own).outcome
    assert outcome.supported is False and outcome.verdict == verdict
    assert outcome.p_degraded == (None if p is None else pytest.approx(p))


def test_the_table_counts_them():
    subject, own = made(0.9)
    rows = {(m.metric, m.group): m for m in table.among_degraded([place(subject, own).outcome], own)}
    one = rows["unusual among degraded at 5 %", "broken"]
    assert (one.hits, one.n, one.null) == (1, 1, 0.05)
    few = rows["unusual among degraded at 1 %", "broken"]
    assert few.value is None and "40 degraded models give no p" in (few.reason or "")
    assert rows["unusual among degraded at 5 %", "both"].value is None
