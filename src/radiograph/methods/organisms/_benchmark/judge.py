"""What a calibration says about one organism, from stored scores alone: the rule of `audit`.

1. the organism joins the benign models: p of each detector, combined p, stratum, support; and the degraded ones
2. a benign test model a second time without its family among them
3. witnesses judged against benign models; both axes; verdict
Without a calibration there is no p, and the targeted axis is `unknown`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from radiograph.detectors import Pool, pool_of
from radiograph.detectors._calibrated import COORDINATES
from radiograph.detectors._witness import benign_of, judged
from radiograph.evidence.benchmark import Outcome, Protocol, Scored
from radiograph.evidence.traces import Witness
from radiograph.methods._audit.decide import both_axes
from radiograph.methods.organisms._benchmark.measure import Kept
from radiograph.methods.organisms._benchmark.stored import Evidence, Subject, without
from radiograph.numerics import (
    Calibrated,
    Decision,
    DegradedPool,
    FeatureTier,
    Identity,
    Stratum,
    decide,
)
from radiograph.numerics.calibration import Judgement, judge
from radiograph.store.calibration import StoredCalibration


@dataclass(frozen=True)
class Placed:
    """One organism in its pool."""

    outcome: Outcome
    benign: np.ndarray | None
    """Combined statistics of the calibration's models in that pool."""


def place(subject: Subject, evidence: Evidence) -> Placed:
    """One organism's outcome."""
    stored, protocol = evidence.calibration, evidence.protocol
    found = None if stored is None else ranked(subject.kept, stored, protocol)
    decision, confirmed = decided(subject.kept, found, evidence)
    outcome = Outcome(
        id=subject.truth.id,
        part=subject.part,
        family=subject.truth.family,
        variant=subject.truth.variant,
        due=subject.due,
        verdict=decision.verdict,
        degraded=decision.degraded,
        targeted=decision.targeted,
        reasons=decision.reasons,
        scores=_scores(subject.scored, None if found is None else found[0]),
        p_values={} if found is None else {name: rank.p for name, rank in found[1].detectors.items()},
        witnesses=tuple(f"{w.kind}: {w.name}" for w in confirmed),
    )
    if found is None or stored is None:
        return Placed(outcome, None)
    combined, supported = found[1].combined, found[1].supported
    like = found[0].among_degraded()
    update: dict[str, object] = {"supported": None if supported is None else supported.inside}
    broken = subject.scored.panel is not None and subject.scored.panel.axis == "yes"
    if like is not None and like.supported.inside and update["supported"] is False and broken:
        update["p_degraded"] = like.p
    if combined is not None:
        update |= {"p": combined.p, "statistic": combined.statistic, "leading": found[1].leading}
    if subject.part == "test":
        update |= left_out(subject.kept, subject.truth.family, stored, protocol)
    return Placed(outcome.model_copy(update=update), None if combined is None else combined.benign)


def left_out(kept: Kept, family: str, stored: StoredCalibration, protocol: Protocol) -> dict[str, object]:
    """The combined p without the model's family in the calibration."""
    fold = without(stored, family)
    if fold.record.n < 2:
        return {}
    combined = ranked(kept, fold, protocol)[1].combined
    return {} if combined is None else {"p_left_out": combined.p, "n_left_out": fold.record.n}


def ranked(kept: Kept, stored: StoredCalibration, protocol: Protocol) -> tuple[Pool, Judgement]:
    """The pool with one candidate, and its place in it."""
    pool = pool_of(stored.record, stored.summaries, kept.scored.model, kept.summaries)
    pool = replace(pool, combination=protocol.combination, rules=_rules(pool, protocol))
    return pool, judge(pool.scores, pool.drift, pool.coordinates, COORDINATES, protocol.combination)


def _rules(pool: Pool, protocol: Protocol) -> tuple:
    if not protocol.frozen:
        return pool.rules
    return tuple(rule.model_copy(update={"frozen": rule.id in protocol.frozen}) for rule in pool.rules)


def decided(
    kept: Kept, found: tuple[Pool, Judgement] | None, evidence: Evidence
) -> tuple[Decision, tuple[Witness, ...]]:
    """Both axes and the verdict, and the confirmed witnesses."""
    scored = kept.scored
    witnesses = scored.witnesses
    if found is not None:
        pool = found[0]
        shown = [m.triggers for m in pool.models[:-1]]
        witnesses = tuple(judged(w, benign_of(w, shown, [pool.sets])) for w in witnesses)
    confirmed = tuple(w for w in witnesses if w.confirmed)
    calibrated = None if found is None else _calibrated(scored, *found, evidence.verified)
    degraded, why, axis = both_axes(scored.panel, confirmed, evidence.protocol.alpha, calibrated)
    same = scored.identical
    shifts: dict[str, float | None] = {name: value for name, value in scored.model.scores.items() if value is not None}
    # A ratio of two zeros is no shift.
    shifts.pop("kl.contrast", None)
    decision = decide(
        degraded,
        axis,
        Identity(tensors=same, tokenizer=same, template=same, shifts=shifts),
        degraded_reason=why,
    )
    return decision, confirmed


def _calibrated(scored: Scored, pool: Pool, found: Judgement, verified: bool) -> Calibrated:
    frozen = [rule.id for rule in pool.rules if rule.frozen]
    missing = {i for i in frozen if i not in pool.scores or pool.scores[i].candidate is None}
    like = pool.among_degraded()
    reads = any(name.startswith("features.") and name not in missing for name in frozen)
    return Calibrated(
        n=pool.n,
        measured={name: name not in missing for name in frozen},
        supported=None if found.supported is None else found.supported.inside,
        p_combined=None if missing or found.combined is None else found.combined.p,
        stratum=None if found.stratum is None else Stratum(found.stratum.p, found.stratum.n),
        degraded=None if like is None else DegradedPool(like.p, like.n, like.supported.inside),
        features=FeatureTier(verified, scored.share_outside) if reads else None,
    )


def _scores(scored: Scored, pool: Pool | None) -> dict[str, float]:
    """Every score there is; those of fitted detectors by the pool."""
    plain = {name: value for name, value in scored.model.scores.items() if value is not None}
    if pool is None:
        return plain
    fitted = {rule.id for rule in pool.rules if rule.fitted}
    return plain | {
        name: own.candidate for name, own in pool.scores.items() if name in fitted and own.candidate is not None
    }
