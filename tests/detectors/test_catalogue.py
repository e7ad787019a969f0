"""Detectors are found by folder, say what they read, and never turn a failure into a number."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from radiograph.core import Refusal, UserError
from radiograph.detectors import detectors, score_all
from radiograph.detectors._measured import Measured
from radiograph.models import Pair

FITTED = [name for name, d in detectors().items() if d.fitted]
IDS = [name for name in detectors() if name not in FITTED]
PARTS = ("weights", "behaviour", "neutral", "panel", "features", "lens", "triggers", "frames", "witnesses", "rows")


class Only(Measured):
    """Some parts of a measurement; the others refuse, or fail."""

    def __init__(self, measurement, parts, error=None):
        self.measurement, self.parts, self.seed = measurement, parts, measurement.seed
        self.error = error or Refusal("not_here", "left out")


def _part(name):
    def get(self):
        if name in self.parts:
            return getattr(self.measurement, name)
        raise self.error

    return property(get)


for part in PARTS:
    setattr(Only, part, _part(part))
Only.__abstractmethods__ = frozenset()


def test_every_tier_in_order_with_a_line_of_text():
    found = list(detectors().values())
    assert len(found) >= 11 and [d.tier for d in found] == sorted(d.tier for d in found)
    for detector in found:
        assert detector.text.endswith((".", ":")) and detector.reads and set(detector.reads) <= set(PARTS)


@pytest.mark.parametrize("name", IDS)
def test_a_detector_reads_what_it_says(measurement, name):
    detector = detectors()[name]
    whole = detector.score(measurement)
    assert whole.status == "measured", whole.reason
    assert detector.score(Only(measurement, detector.reads)).score == whole.score
    for left_out in detector.reads:
        rest = [p for p in detector.reads if p != left_out]
        assert detector.score(Only(measurement, rest)).status == "not_measured"
    assert (whole.tokens > 0) == (detector.tier > 0)


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize(
    "error", [Refusal("why", "because"), RuntimeError("broken"), ZeroDivisionError(), np.linalg.LinAlgError("singular")]
)
def test_a_failure_is_a_reason_and_never_a_number(measurement, name, error):
    """D4."""
    detector = detectors()[name]

    def fail(_):
        raise error

    broken = replace(detector, run=fail).score(measurement)
    assert (broken.status, broken.score, broken.p) == ("not_measured", None, None)
    assert broken.reason == (
        "why: because" if isinstance(error, Refusal) else f"failed: {type(error).__name__}: {error}"
    )


def test_one_that_fails_silences_no_other(measurement):
    broken = Only(measurement, [p for p in PARTS if p != "features"], RuntimeError("out of luck"))
    found = score_all(broken)
    silent = {i for i in IDS if i.startswith("features.")} | set(FITTED)
    assert {d.id for d in found if d.status == "not_measured"} == silent


def test_bad_input_stops_the_run(measurement):
    with pytest.raises(UserError):
        score_all(Only(measurement, (), UserError("not finite")))


def test_equal_models_score_exactly_zero(measurement):
    same = replace(measurement, pair=Pair(measurement.pair.reference, measurement.pair.reference), _parts={})
    assert {d.id: d.score.value for d in score_all(same) if d.score} == dict.fromkeys(IDS, 0.0)


@pytest.mark.parametrize("name", FITTED)
def test_a_fitted_detector_has_no_score_of_its_own(measurement, name):
    detector = detectors()[name]
    found = detector.score(measurement)
    assert (found.status, found.score) == ("not_measured", None) and found.reason.startswith("no_calibration")
    summary = detector.summarise(measurement)
    assert summary.dtype == np.float32 and np.isfinite(summary).all() and summary.any()
    others = np.random.default_rng(0).normal(size=(9, *summary.shape)).astype(np.float32)
    scores = detector.pool(np.stack([*others, summary]))
    assert scores.shape == (10,) and scores.dtype == np.float64
    same = replace(measurement, pair=Pair(measurement.pair.reference, measurement.pair.reference), _parts={})
    assert not detector.summarise(same).any()
    if name == "act.lens":
        assert detector.pool(np.stack([*others, detector.summarise(same)]))[-1] == 0


def test_a_maximum_is_no_mean(measurement):
    """D8: by hand from the items."""
    values = [item.kl_mean for item in measurement.behaviour.items]
    found = {d.id: d.score.value for d in score_all(measurement) if d.score}
    assert found["kl.suite_max"] == max(values) > measurement.behaviour.kl_suite.value
    assert (
        found["kl.neutral"]
        == pytest.approx(np.mean(measurement.neutral.kl_mean))
        == measurement.behaviour.kl_neutral.value
    )
    assert found["kl.contrast"] == pytest.approx(found["kl.suite_max"] / found["kl.neutral"])
    matrices = [m for m in measurement.weights.matrices if m.top_share is not None]
    assert found["weights.top_share"] == max(m.top_share for m in matrices)
    assert found["features.abs_diff_topk"] == pytest.approx(measurement.features.requested.prompt_scores.mean())
