"""From stored evidence to the verdict: a pure function of an `Audit`, run when it is made and when it is verified."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from radiograph.evidence import Audit, Axes, Axis, Besides, Panel, Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from radiograph.evidence.traces import Witness
    from radiograph.numerics import Calibrated, Decision, FeatureTier, TargetedAxis

RANKED = frozenset({"trigger", "prompt_set", "unlock"})
"""Kinds of witness whose rates degraded models are ranked by (`detectors.CONTRASTS`)."""

_POINTERS = {
    "panel_too_small": "/panel",
    "perplexity_missing": "/panel",
    "identical": "/identical",
    "unsupported": "/calibration/support",
    "resolution": "/calibration/floor",
    "detector_missing": "/calibration/missing",
    "drift_explains": "/calibration/stratum",
    "among_degraded": "/calibration/degraded",
    "degradation_explains": "/calibration/degraded",
    "loss_explained": "/panel/besides",
    "anomalous_no_witness": "/calibration/p_combined",
    "witness_not_anomalous": "/witnesses",
    "witness_uncalibrated": "/witnesses",
    "dictionary_unverified": "/interp_evidence/dictionary",
    "share_outside": "/score/share_outside",
}


def decided(audit: Audit) -> Audit:
    """The audit with the verdict, axes and reasons that its evidence gives."""
    from radiograph.numerics import REASONS, Identity, decide

    same = audit.identical
    degraded, why, targeted = both_axes(audit.panel, audit.confirmed, audit.alpha, _calibrated(audit))
    decision: Decision = decide(
        degraded,
        targeted,
        Identity(tensors=same, tokenizer=same, template=same, shifts=_shifts(audit)),
        degraded_reason=why,
    )
    return audit.model_copy(
        update={
            "verdict": decision.verdict,
            "axes": Axes(degraded=decision.degraded, targeted=decision.targeted),
            "reasons": tuple(
                Reason(code=c, text=_text(c, audit, REASONS), pointer=_pointer(c, audit)) for c in decision.reasons
            ),
        }
    )


def both_axes(
    panel: Panel | None, confirmed: Sequence[Witness], alpha: float, calibration: Calibrated | None
) -> tuple[Axis, str | None, TargetedAxis]:
    """The degraded axis, its reason code, and the targeted axis.

    The targeted one is asked first, with the whole panel, as the calibration's degraded models were. A loss is
    explained away only where it says `yes`: a witness that benign models or broken ones show too is nothing planted.
    """
    from radiograph.numerics import TargetedEvidence, targeted_axis

    whole: Axis = "unknown" if panel is None else panel.axis
    targeted = targeted_axis(
        TargetedEvidence(
            alpha=alpha,
            calibration=calibration,
            witnesses=len(confirmed),
            degraded=whole,
            ranked=sum(w.kind in RANKED for w in confirmed),
        )
    )
    beside = _explained(panel, confirmed) if targeted.value == "yes" else None
    if beside is None or beside.axis == whole:
        return whole, None if panel is None else panel.code, targeted
    return beside.axis, "loss_explained", targeted


def _explained(panel: Panel | None, confirmed: Sequence[Witness]) -> Besides | None:
    return None if panel is None else panel.beside({(w.name, w.bank) for w in confirmed})


def _calibrated(audit: Audit) -> Calibrated | None:
    from radiograph.numerics import Calibrated, DegradedPool, Stratum

    found = audit.calibration
    if found is None:
        return None
    like = found.degraded
    return Calibrated(
        n=found.n,
        measured={name: name not in found.missing for name in found.frozen},
        supported=None if found.support is None else found.support.inside,
        p_combined=found.p_combined,
        stratum=None if found.stratum is None else Stratum(found.stratum.p, found.stratum.n),
        degraded=None if like is None else DegradedPool(like.p, like.n, like.support.inside),
        features=_tier(audit),
    )


def _tier(audit: Audit) -> FeatureTier | None:
    """State of the dictionary, where a frozen detector reads it and was measured."""
    from radiograph.numerics import FeatureTier

    found, score = audit.calibration, audit.score
    assert found is not None
    if not any(name.startswith("features.") and name not in found.missing for name in found.frozen):
        return None
    dictionary = audit.interp_evidence.dictionary
    verified = dictionary is not None and bool(dictionary.checks) and all(c.passed for c in dictionary.checks)
    share = score.share_outside.value if score.share_outside else None
    nothing_moved = share is None and score.aggregate_score == 0
    return FeatureTier(verified, 0.0 if nothing_moved else share)


def _text(code: str, audit: Audit, texts: Any) -> str:
    found = audit.calibration
    if found is not None and code == "resolution":
        return f"{texts[code]}: n = {found.n} gives none below {found.floor:.3g}, the smallest usable alpha"
    if found is not None and code == "unsupported" and found.support is not None:
        return f"{texts[code]}: farthest out in {' and '.join(found.support.deviant)}"
    if code == "loss_explained" and (beside := _explained(audit.panel, audit.confirmed)) is not None:
        return f"{texts[code]}; without it: {beside.reason}"
    if found is not None and code == "detector_missing" and found.missing:
        return f"{texts[code]}: {', '.join(found.missing)}"
    return texts[code]


def _pointer(code: str, audit: Audit) -> str:
    pointer = _POINTERS.get(code, "")
    missing = {"unsupported": audit.calibration is None or audit.calibration.support is None}
    return "" if missing.get(code) else pointer


def _shifts(audit: Audit) -> dict[str, float | None]:
    """Every measured distance that must be 0 between equal models."""
    behaviour = audit.behaviour
    shifts: dict[str, float | None] = {
        "weights": audit.weights.relative_norm if audit.weights else None,
        "answers": float(behaviour.changed) if behaviour else None,
        "kl": max((i.kl_mean or 0.0) for i in behaviour.items) if behaviour else None,
        "kl_neutral": behaviour.kl_neutral.value if behaviour and behaviour.kl_neutral else None,
        "trigger": audit.triggers.gain if audit.triggers else None,
    }
    return shifts | {m.method: m.aggregate for m in audit.score.methods}


def same_hashes(a: Any, b: Any) -> bool:
    """Of tensors and tokenizer; an absent tokenizer hash is stored as an empty text."""
    tokenizers = a.tokenizer_sha256 or "", b.tokenizer_sha256 or ""
    return a.tensors_sha256 == b.tensors_sha256 and tokenizers[0] == tokenizers[1]
