"""The verdict: all twelve cells, every reason code, and that silence never passes."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cells import CELLS
from radiograph.core import ExitCode, RadiographError, UserError
from radiograph.numerics import (
    REASONS,
    Calibrated,
    DegradedPool,
    FeatureTier,
    Identity,
    Stratum,
    TargetedAxis,
    TargetedEvidence,
    decide,
    targeted_axis,
)

SOUND = Calibrated(n=199, measured={"kl.neutral": True, "act.lens": True}, supported=True, p_combined=0.4)
ODD = replace(SOUND, p_combined=0.005, stratum=Stratum(0.015, 66))


OUTSIDE = replace(ODD, supported=False, degraded=DegradedPool(0.02, 99, True))
USUAL = replace(OUTSIDE, degraded=DegradedPool(0.06, 99, True))


def axis(calibration, witnesses=0, alpha=0.05, degraded="unknown", ranked=None):
    ranked = witnesses if ranked is None else ranked
    return targeted_axis(TargetedEvidence(alpha, calibration, witnesses, degraded, ranked))


@pytest.mark.parametrize(
    ("degraded", "targeted"), list(product(("no", "yes", "unknown"), ("no", "yes", "anomalous", "unknown")))
)
def test_every_cell_of_the_table(degraded, targeted):
    found = decide(degraded, TargetedAxis(targeted, ()))
    assert (found.verdict, found.exit_code) == CELLS[degraded, targeted]
    assert (found.degraded, found.targeted) == (degraded, targeted)


@pytest.mark.parametrize(
    ("calibration", "witnesses", "value", "reasons"),
    [
        (SOUND, 0, "no", ()),
        (ODD, 1, "yes", ()),
        (replace(ODD, stratum=None), 1, "yes", ()),
        (replace(ODD, stratum=Stratum(0.3, 18)), 1, "yes", ()),  # 18 + 1 < 20: the stratum cannot show it
        (replace(ODD, stratum=Stratum(0.3, 19)), 1, "anomalous", ("drift_explains",)),
        (ODD, 0, "anomalous", ("anomalous_no_witness",)),
        (SOUND, 2, "anomalous", ("witness_not_anomalous",)),
        (None, 0, "unknown", ("no_calibration",)),
        (None, 1, "unknown", ("witness_uncalibrated", "no_calibration")),
        (replace(ODD, measured={"kl.neutral": True, "act.lens": False}), 1, "unknown", ("detector_missing",)),
        (replace(SOUND, measured={}), 0, "unknown", ("detector_missing",)),
        (replace(SOUND, p_combined=None), 0, "unknown", ("detector_missing",)),
        (replace(ODD, supported=False), 1, "unknown", ("unsupported",)),
        (replace(SOUND, supported=None), 0, "unknown", ("unsupported",)),
        (replace(SOUND, n=18), 0, "unknown", ("resolution",)),
        (replace(SOUND, n=19), 0, "no", ()),
        (replace(SOUND, features=FeatureTier(True, 0.2)), 0, "no", ()),
        (replace(SOUND, features=FeatureTier(True, 0.6)), 0, "unknown", ("share_outside",)),
        (replace(SOUND, features=FeatureTier(True, None)), 0, "unknown", ("share_outside",)),
        (replace(ODD, features=FeatureTier(True, 0.9)), 1, "yes", ()),
        (replace(SOUND, features=FeatureTier(False, 0.2)), 0, "unknown", ("dictionary_unverified",)),
        (replace(SOUND, n=5, supported=False), 0, "unknown", ("unsupported", "resolution")),
    ],
)
def test_every_rule_of_the_targeted_axis(calibration, witnesses, value, reasons):
    assert axis(calibration, witnesses) == TargetedAxis(value, reasons)
    assert set(reasons) <= set(REASONS)


@pytest.mark.parametrize(
    ("calibration", "witnesses", "value", "reasons"),
    [
        (OUTSIDE, 1, "yes", ("among_degraded",)),
        (OUTSIDE, 0, "anomalous", ("anomalous_no_witness", "among_degraded")),
        (
            replace(OUTSIDE, degraded=DegradedPool(0.06, 99, True)),
            1,
            "anomalous",
            ("degradation_explains", "among_degraded"),
        ),
        (USUAL, 0, "no", ("among_degraded",)),
        (replace(OUTSIDE, degraded=DegradedPool(0.05, 19, True)), 1, "yes", ("among_degraded",)),
        (replace(OUTSIDE, degraded=DegradedPool(0.02, 18, True)), 1, "unknown", ("unsupported",)),
        (replace(OUTSIDE, degraded=DegradedPool(0.02, 99, False)), 1, "unknown", ("unsupported",)),
        (replace(OUTSIDE, degraded=None), 1, "unknown", ("unsupported",)),
        (replace(OUTSIDE, supported=None), 1, "unknown", ("unsupported",)),
        (replace(OUTSIDE, p_combined=None), 1, "unknown", ("detector_missing", "unsupported")),
        (replace(OUTSIDE, supported=True), 1, "yes", ()),
        (replace(OUTSIDE, supported=True, degraded=DegradedPool(0.9, 99, True)), 1, "yes", ()),
        (
            replace(OUTSIDE, degraded=DegradedPool(0.5, 99, True), features=FeatureTier(True, 0.9)),
            0,
            "unknown",
            ("share_outside",),
        ),
    ],
)
def test_a_degraded_candidate_unlike_benign_models_is_judged_among_degraded_ones(
    calibration, witnesses, value, reasons
):
    assert axis(calibration, witnesses, degraded="yes") == TargetedAxis(value, reasons)
    if calibration.supported is False:
        for other in ("no", "unknown"):
            assert axis(calibration, witnesses, degraded=other).value == "unknown"


def test_a_witness_of_a_kind_that_degraded_models_were_not_ranked_by_does_not_speak_for_their_p():
    odd, usual = (axis(own, 1, degraded="yes", ranked=0) for own in (OUTSIDE, USUAL))
    assert odd == TargetedAxis("anomalous", ("anomalous_no_witness", "among_degraded"))
    assert usual == TargetedAxis("anomalous", ("witness_not_anomalous", "among_degraded"))
    assert axis(ODD, 1, ranked=0).value == "yes"  # among benign models every kind is compared


def test_p_equal_to_alpha_counts_and_the_floor_is_usable():
    assert axis(replace(ODD, n=19, p_combined=0.05, stratum=None), 1).value == "yes"
    assert axis(replace(ODD, n=99, p_combined=0.01, stratum=None), 1, alpha=0.01).value == "yes"


SAME = Identity(True, True, True, {"kl.neutral": 0.0, "act.lens": None})
UNKNOWN = TargetedAxis("unknown", ("no_calibration",))


def test_identical_models_pass_even_uncalibrated():
    found = decide("unknown", UNKNOWN, SAME, degraded_reason="panel_too_small")
    assert (found.verdict, found.exit_code, found.reasons) == ("no-evidence", ExitCode.PASS, ("identical",))


@pytest.mark.parametrize("part", ["tensors", "tokenizer", "template"])
def test_identity_needs_all_three_parts(part):
    found = decide("unknown", UNKNOWN, replace(SAME, **{part: False}), degraded_reason="panel_too_small")
    assert (found.verdict, found.reasons) == ("inconclusive", ("no_calibration", "panel_too_small"))


@pytest.mark.parametrize("shift", [1e-300, -1.0, math.nan])
def test_equal_models_that_moved_are_an_internal_error(shift):
    with pytest.raises(RadiographError) as error:
        decide("no", TargetedAxis("no", ()), replace(SAME, shifts={"kl.neutral": shift}))
    assert error.value.exit_code == ExitCode.INTERNAL


maybe = st.none() | st.booleans()
calibrations = st.none() | st.builds(
    Calibrated,
    n=st.integers(0, 200),
    measured=st.dictionaries(st.sampled_from(["kl.neutral", "act.lens", "features.neutral_drift"]), st.booleans()),
    supported=maybe,
    p_combined=st.none() | st.floats(0, 1),
    stratum=st.none() | st.builds(Stratum, st.floats(0, 1), st.integers(0, 200)),
    degraded=st.none() | st.builds(DegradedPool, st.floats(0, 1), st.integers(0, 200), st.booleans()),
    features=st.none() | st.builds(FeatureTier, st.booleans(), st.none() | st.floats(0, 2)),
)


@given(
    calibration=calibrations,
    witnesses=st.integers(0, 3),
    alpha=st.floats(0.001, 0.5),
    degraded=st.sampled_from(["no", "yes", "unknown"]),
    tensors=st.booleans(),
)
def test_no_evidence_means_that_everything_was_measured_or_nothing_differs(
    calibration, witnesses, alpha, degraded, tensors
):
    found = decide(degraded, axis(calibration, witnesses, alpha, degraded), replace(SAME, tensors=tensors))
    if found.verdict != "no-evidence":
        assert found.exit_code != ExitCode.PASS
        return
    if found.reasons == ("identical",):
        assert tensors
        return
    assert degraded == "no" and witnesses == 0
    assert calibration is not None and calibration.measured and all(calibration.measured.values())
    assert calibration.supported and calibration.p_combined > alpha >= 1 / (calibration.n + 1)
    tier = calibration.features
    assert tier is None or (tier.verified and tier.share_outside is not None and tier.share_outside <= 0.5)


@given(calibration=calibrations, witnesses=st.integers(0, 3), alpha=st.floats(0.001, 0.5))
def test_losing_evidence_never_improves_the_targeted_axis(calibration, witnesses, alpha):
    full = axis(calibration, witnesses, alpha).value
    if calibration is None or full == "no":
        return
    for field in ("supported", "p_combined"):
        assert axis(replace(calibration, **{field: None}), witnesses, alpha).value == "unknown"
    assert axis(None, witnesses, alpha).value == "unknown"


@given(
    calibration=calibrations,
    witnesses=st.integers(0, 3),
    alpha=st.floats(0.001, 0.5),
    degraded=st.sampled_from(["no", "yes", "unknown"]),
)
def test_every_answer_but_yes_and_no_has_a_known_reason(calibration, witnesses, alpha, degraded):
    found = axis(calibration, witnesses, alpha, degraded)
    assert set(found.reasons) <= set(REASONS)
    assert (found.value in ("yes", "no")) == (found.reasons in ((), ("among_degraded",)))


@pytest.mark.parametrize(
    "evidence",
    [
        TargetedEvidence(0.0, None),
        TargetedEvidence(0.6, None),
        TargetedEvidence(0.05, None, -1),
        TargetedEvidence(0.05, replace(SOUND, p_combined=math.nan)),
        TargetedEvidence(0.05, replace(SOUND, stratum=Stratum(1.2, 10))),
    ],
)
def test_impossible_evidence_is_an_error(evidence):
    with pytest.raises(UserError):
        targeted_axis(evidence)
