"""A4: every cell of the table of verdicts and every reason code, from constructed evidence, with its exit code."""

from __future__ import annotations

import json

import pytest

from cells import CELLS
from radiograph.evidence import (
    Audit,
    Besides,
    CalibratedAudit,
    DegradedPlace,
    DictionaryRecord,
    Estimate,
    GuardCheck,
    MissRate,
    PanelRow,
    StratumRecord,
    SupportRecord,
)
from radiograph.evidence.traces import Witness, Witnesses
from radiograph.methods._audit.decide import decided
from radiograph.numerics import REASONS

INSIDE = SupportRecord(inside=True, p=0.5, distance=1.0, deviant=("kl_neutral", "adapter"), deviations={})
OUTSIDE = INSIDE.model_copy(update={"inside": False, "p": 0.01})
WITNESS = Witness(
    kind="trigger",
    name="birch (prefix)",
    hits=20,
    n=20,
    rest_hits=0,
    rest_n=20,
    rate=1.0,
    low=0.84,
    rest_rate=0.0,
    difference=1.0,
    replayed=True,
    confirmed=True,
)


def calibrated(p=0.5, **changes):
    base = CalibratedAudit(
        name="runs/c",
        sha256="0" * 64,
        n=199,
        n_families=11,
        n_effective=120.0,
        floor=1 / 200,
        combination="max",
        frozen=("kl.neutral",),
        p_combined=p,
        support=INSIDE,
        stratum=StratumRecord(index=1, n=66, p=0.02 if p <= 0.05 else 0.5, floor=1 / 67),
    )
    return base.model_copy(update=changes)


TARGETED = {
    "no": (calibrated(), False),
    "yes": (calibrated(0.005), True),
    "anomalous": (calibrated(0.005), False),
    "unknown": (None, False),
}


@pytest.fixture(scope="module")
def base(moved) -> Audit:
    return Audit.read(json.loads((moved / "result.json").read_text()))


def evidence(base, calibration, witness=False, degraded="no", code=None, **changes):
    found = Witnesses(found=(WITNESS,) if witness else (), looked_at=("trigger",), tokens=0)
    panel = base.panel.model_copy(update={"axis": degraded, "code": code})
    update = {"calibration": calibration, "witnesses": found, "panel": panel, "identical": False, **changes}
    return decided(base.model_copy(update=update))


@pytest.mark.parametrize("cell", CELLS, ids="-".join)
def test_a4_every_cell(base, cell):
    degraded, targeted = cell
    found = evidence(base, *TARGETED[targeted], degraded)
    assert (found.axes.degraded, found.axes.targeted) == cell
    assert (found.verdict, int(found.exit_code)) == CELLS[cell]
    assert found.projections()["decision.json"]["exit_code"] == CELLS[cell][1]


def dictionary(base, passed):
    record = DictionaryRecord(
        ref="d",
        sha256="0",
        decoder_sha256="0",
        site="resid_post.1",
        kind="sae",
        F=4,
        d=2,
        checks=(GuardCheck(check="site", expected="a", observed="b", passed=passed),),
    )
    return base.interp_evidence.model_copy(update={"dictionary": record})


DEGRADED = DegradedPlace(
    n=99, p=0.4, floor=0.01, strength=0.5, leading="panel.flip_contrast", others=(0.6,) * 99, support=INSIDE
)
ROW = PanelRow(task="cite", n=62, b=0, c=0, both_right=62, drop=0.0, low=0.0, high=0.06, upper=0.04, p=1.0, p_holm=1.0)
BESIDE = Besides(
    witness="colour=blue",
    bank="probe/sources",
    answer="carried up",
    explained={"cite": 38},
    axis="no",
    code=None,
    reason="no task lost more than .10, perplexity ratio within 1.25",
    rows=(ROW,),
)
SET = WITNESS.model_copy(update={"kind": "prompt_set", "name": "colour=blue", "bank": "probe/sources", "p_holm": 1e-4})


def explained(base, calibration=None, **changes):
    """A task is lost where the candidate gives the answer of a witness, and nowhere else."""
    panel = base.panel.model_copy(update={"axis": "yes", "code": None, "besides": (BESIDE,)})
    found = Witnesses(found=(SET.model_copy(update=changes),), looked_at=("prompt_set",), tokens=0)
    calibration = calibrated(0.005) if calibration is None else calibration
    update = {"calibration": calibration or None, "witnesses": found, "panel": panel, "identical": False}
    return decided(base.model_copy(update=update))


def test_a_loss_that_a_witness_explains_is_no_lost_ability(base):
    found = explained(base)
    assert (found.axes.degraded, found.axes.targeted, found.verdict) == ("no", "yes", "targeted-change")
    assert [(r.code, r.pointer) for r in found.reasons] == [("loss_explained", "/panel/besides")]
    assert found.reasons[0].text.endswith("without it: no task lost more than .10, perplexity ratio within 1.25")


@pytest.mark.parametrize(
    ("calibration", "targeted"),
    [
        (False, "unknown"),  # benign models were not asked
        (calibrated(0.5), "anomalous"),
        (calibrated(0.005, stratum=StratumRecord(index=2, n=66, p=0.4, floor=1 / 67)), "anomalous"),
        (calibrated(0.005, support=OUTSIDE), "unknown"),
    ],
)
def test_a_loss_is_not_explained_by_what_is_not_known_to_be_planted(base, calibration, targeted):
    found = explained(base, calibration)
    assert (found.axes.degraded, found.axes.targeted, found.verdict) == ("yes", targeted, "degraded")
    assert "loss_explained" not in [r.code for r in found.reasons]


def test_a_loss_that_a_witness_explains_is_not_kept_from_degraded_models(base):
    """Pool and candidate are chosen by the whole panel; only then is the loss explained."""
    odd = calibrated(0.5, support=OUTSIDE, degraded=DEGRADED.model_copy(update={"p": 0.01}))
    found = explained(base, odd)
    assert (found.axes.degraded, found.axes.targeted, found.verdict) == ("no", "yes", "targeted-change")
    assert [r.code for r in found.reasons] == ["among_degraded", "loss_explained"]
    assert explained(base, calibrated(0.5, support=OUTSIDE, degraded=DEGRADED)).verdict == "degraded"


def test_silence_explains_nothing(base):
    panel = base.panel.model_copy(
        update={"axis": "yes", "code": None, "besides": (BESIDE.model_copy(update={"answer": ""}),)}
    )
    found = Witnesses(found=(SET,), looked_at=("prompt_set",), tokens=0)
    update = {"calibration": calibrated(0.005), "witnesses": found, "panel": panel, "identical": False}
    assert decided(base.model_copy(update=update)).verdict == "degraded+targeted"


@pytest.mark.parametrize(("p", "code"), [(0.01, "anomalous_no_witness"), (0.4, "witness_not_anomalous")])
def test_a_covert_channel_says_nothing_of_contrasts_among_degraded_models(base, p, code):
    among = calibrated(0.005, support=OUTSIDE, degraded=DEGRADED.model_copy(update={"p": p}))
    panel = base.panel.model_copy(update={"axis": "yes", "code": None})
    found = Witnesses(found=(WITNESS.model_copy(update={"kind": "frame"}),), looked_at=("frame",), tokens=0)
    audit = decided(
        base.model_copy(update={"calibration": among, "witnesses": found, "panel": panel, "identical": False})
    )
    assert (audit.verdict, audit.axes.targeted) == ("degraded", "anomalous")
    assert [r.code for r in audit.reasons] == [code, "among_degraded"]


@pytest.mark.parametrize("change", [{"confirmed": False}, {"name": "colour=red"}, {"bank": "probe/fact"}])
def test_without_that_very_witness_it_is_one(base, change):
    assert explained(base, **change).axes.degraded == "yes"


def test_a_broken_model_unlike_benign_ones_is_compared_with_broken_ones(base):
    among = calibrated(0.005, support=OUTSIDE, degraded=DEGRADED)
    quiet = evidence(base, among, degraded="yes")
    assert (quiet.verdict, quiet.axes.targeted, quiet.reasons[0].code) == ("degraded", "no", "among_degraded")
    shown = evidence(base, among, True, degraded="yes")
    assert (shown.verdict, shown.axes.targeted) == ("degraded", "anomalous")
    odd = calibrated(0.005, support=OUTSIDE, degraded=DEGRADED.model_copy(update={"p": 0.01}))
    assert evidence(base, odd, True, degraded="yes").verdict == "degraded+targeted"
    assert evidence(base, odd, True, degraded="no").verdict == "inconclusive"


FEATURES = calibrated(frozen=("features.abs_diff_topk",))


def reasons(base):
    share = base.score.model_copy(update={"share_outside": Estimate(value=0.7, n=4)})
    seen = base.score.model_copy(update={"share_outside": Estimate(value=0.2, n=4)})
    return {
        "no_calibration": evidence(base, None),
        "unsupported": evidence(base, calibrated(support=OUTSIDE)),
        "resolution": evidence(base, calibrated(), alpha=0.001),
        "detector_missing": evidence(base, calibrated(missing=("kl.neutral",), p_combined=None)),
        "drift_explains": evidence(
            base, calibrated(0.005, stratum=StratumRecord(index=2, n=66, p=0.4, floor=1 / 67)), True
        ),
        "among_degraded": evidence(base, calibrated(support=OUTSIDE, degraded=DEGRADED), degraded="yes"),
        "degradation_explains": evidence(base, calibrated(support=OUTSIDE, degraded=DEGRADED), True, degraded="yes"),
        "loss_explained": explained(base),
        "anomalous_no_witness": evidence(base, calibrated(0.005)),
        "witness_not_anomalous": evidence(base, calibrated(), True),
        "witness_uncalibrated": evidence(base, None, True),
        "panel_too_small": evidence(base, calibrated(), degraded="unknown", code="panel_too_small"),
        "perplexity_missing": evidence(base, calibrated(), degraded="unknown", code="perplexity_missing"),
        "dictionary_unverified": evidence(base, FEATURES, interp_evidence=dictionary(base, False), score=seen),
        "share_outside": evidence(base, FEATURES, interp_evidence=dictionary(base, True), score=share),
    }


def test_a4_every_reason_code(base, same):
    found = reasons(base)
    found["identical"] = Audit.read(json.loads((same / "result.json").read_text()))
    assert set(found) == set(REASONS)
    for code, audit in found.items():
        assert code in [r.code for r in audit.reasons], code
        assert (int(audit.exit_code) == 0) == (code == "identical"), code
        assert audit.reasons[[r.code for r in audit.reasons].index(code)].text


def test_what_is_missed_is_said_at_the_alpha_of_the_audit_alone(base):
    known = calibrated(misses=(MissRate(family="needle_obedience", n=9, detected=2, alpha=0.05),))
    assert (
        "of 9 planted changes in the benchmark these detectors miss 7 at alpha 0.05" in evidence(base, known).headline
    )
    other = evidence(base, known, alpha=0.1)
    assert other.verdict == "no-evidence" and "not measured at alpha 0.1, only at 0.05" in other.headline


def test_reasons_name_what_they_rest_on(base):
    found = {code: audit.reasons[0].text for code, audit in reasons(base).items()}
    assert "kl_neutral and adapter" in found["unsupported"] and "kl.neutral" in found["detector_missing"]
    assert "0.005" in found["resolution"]
    assert evidence(base, None, True).reasons[0].code == "witness_uncalibrated"


def test_a_pass_says_what_is_missed(base):
    assert "was not measured" in evidence(base, calibrated()).headline
    rates = (MissRate(family="false_fact", n=12, detected=4, alpha=0.05),)
    assert (
        "of 12 planted changes in the benchmark these detectors miss 8"
        in evidence(base, calibrated(misses=rates)).headline
    )


def test_a_stratum_too_small_to_show_anything_explains_nothing(base):
    small = StratumRecord(index=2, n=9, p=0.1, floor=0.1)
    assert evidence(base, calibrated(0.005, stratum=small), True).verdict == "targeted-change"
