"""A candidate among the benign models of a calibration, from numbers alone: in an audit, and when it is verified.

1. `Pool`: everything that a p-value rests on, benign models first and the candidate last; tables hold all of it
2. fitted detectors are scored over the pool, each model by a fit on all others
3. `judged`: p of each detector, combined p, stratum, support (`numerics.calibration.judge`); agreement of wordings and
   random dictionaries beside those of benign models; how many models the families are worth
4. degraded models, where the calibration holds some: those that lost abilities and lie outside the benign support
Needs no torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from radiograph.core import UserError
from radiograph.detectors._catalogue import detectors
from radiograph.detectors._sets import all_but
from radiograph.evidence import (
    CalibratedAudit,
    Calibration,
    CalibrationModel,
    ControlPlace,
    DegradedPlace,
    DetectorPlace,
    DetectorRule,
    MissRate,
    StabilityPlace,
    StratumRecord,
    SupportRecord,
)
from radiograph.numerics.calibration import (
    DegradedRank,
    Judgement,
    PoolScores,
    Supported,
    among_degraded,
    families,
    judge,
    support,
)
from radiograph.numerics.calibration.judgement import combined_of

COORDINATES = (
    *("relative_norm", "kl_neutral", "drift_first", "drift_middle", "drift_last"),
    *("changed_share", "effective_rank", "adapter"),
)
_RAW = frozenset({"changed_share", "adapter"})
"""Coordinates that are shares; all others are compared in logarithms."""
CONTRASTS = ("trigger.success", "panel.flip_contrast", "trigger.unlock")
"""Detectors that compare a model with itself, each a difference of rates: what degraded models are ranked by."""
_SMALL = 1e-9
MIN_MODELS = 9
Summaries = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class Pool:
    """Benign models, then the candidate."""

    models: tuple[CalibrationModel, ...]
    """The candidate is the last one."""
    rules: tuple[DetectorRule, ...]
    combination: str
    summaries: Summaries
    """[model, …] with the candidate, or one row less where the candidate has none."""
    sets: Mapping[str, float] = field(default_factory=dict)
    """Largest contrast of a benign model, by set."""
    degraded: tuple[CalibrationModel, ...] = ()
    """Degraded models that the candidate may be compared with."""

    @property
    def n(self) -> int:
        """Benign models."""
        return len(self.models) - 1

    @cached_property
    def scores(self) -> dict[str, PoolScores]:
        """Scores by detector; those that no benign model has are left out."""
        found: dict[str, PoolScores] = {}
        for rule in self.rules:
            values = self._fitted(rule.id) if rule.fitted else [m.scores.get(rule.id) for m in self.models]
            benign = np.array([v for v in values[:-1] if v is not None], dtype=float)
            if len(benign):
                found[rule.id] = PoolScores(benign, values[-1], rule.scale, rule.floor, rule.frozen)
        return found

    def _fitted(self, name: str) -> list[float | None]:
        values = _over(name, self.summaries.get(name))
        if values is None:
            return [None] * len(self.models)
        found: list[float | None] = list(map(float, values))
        return found if len(found) == len(self.models) else [*found, None]

    @property
    def coordinates(self) -> np.ndarray | None:
        """What kind of change each model is; None where the candidate's was not measured."""
        return _coordinates(self.models)

    @property
    def drift(self) -> np.ndarray | None:
        """Logarithm of the divergence on neutral text."""
        values = [m.nuisance.get("kl_neutral") for m in self.models]
        if any(v is None for v in values):
            return None
        return np.log(np.maximum(np.array(values, dtype=float), _SMALL))

    @property
    def candidate(self) -> CalibrationModel:
        """The last model."""
        return self.models[-1]

    def among_degraded(self) -> DegradedRank | None:
        """The candidate among degraded models; None without them, or where its own contrasts were not measured."""
        models = (*self.degraded, self.candidate)
        coordinates = _coordinates(models)
        if not self.degraded or coordinates is None:
            return None
        return among_degraded([_contrasts(m) for m in models], coordinates, COORDINATES)


def _coordinates(models: Sequence[CalibrationModel]) -> np.ndarray | None:
    rows = [_coordinate(m) for m in models]
    return np.array(rows) if all(None not in row for row in rows) else None


def _coordinate(model: CalibrationModel) -> list[float | None]:
    values = {**model.nuisance, "adapter": float(model.kind == "adapter")}
    found: list[float | None] = []
    for name in COORDINATES:
        value = values.get(name)
        found.append(value if value is None or name in _RAW else float(np.log(max(value, _SMALL))))
    return found


def _contrasts(model: CalibrationModel) -> dict[str, float | None]:
    return {name: model.scores.get(name) for name in CONTRASTS}


def unfit(model: CalibrationModel, benign: Sequence[CalibrationModel]) -> str | None:
    """Why a degraded model is none that a candidate outside the benign support can be compared with."""
    missing = [name for name, value in _contrasts(model).items() if value is None]
    coordinates = _coordinates((*benign, model))
    if missing:
        return f"not measured: {', '.join(missing)}"
    if coordinates is None:
        return "not measured: what kind of change it is"
    found = support(coordinates, COORDINATES)
    return f"within the support of the benign models (p = {found.p:.3g})" if found.inside else None


def contrasts_of(model: CalibrationModel) -> CalibrationModel:
    """What is kept of a degraded model: how it changed, and its contrasts."""
    return CalibrationModel(
        id=model.id,
        family=model.family,
        kind=model.kind,
        tensors_sha256=model.tensors_sha256,
        scores=dict(_contrasts(model)),
        nuisance=model.nuisance,
    )


def pool_of(calibration: Calibration, summaries: Summaries, candidate: CalibrationModel, kept: Summaries) -> Pool:
    """The calibration's models and a candidate; `kept` are the candidate's own summaries."""
    joined = {name: joined_rows(rows, kept[name][None]) if name in kept else rows for name, rows in summaries.items()}
    largest: dict[str, float] = {}
    for place, name in enumerate(calibration.sets):
        values = [m.flips[place] for m in calibration.models if m.flips and m.flips[place] is not None]
        if values:
            largest[name] = max(v for v in values if v is not None)
            # All levels but one against that one: what the one shows against the rest, the other way round.
            largest[all_but(name)] = -min(v for v in values if v is not None)
    models = (*calibration.models, candidate)
    return Pool(models, calibration.rules, calibration.combination, joined, largest, calibration.degraded)


def joined_rows(rows: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Rows of a calibration, and those of candidates rounded as they are.

    A calibration that ships keeps half precision. What is too large for it is cut to the largest number there is: such
    a candidate is far from all others either way, where infinity would leave the detector without a score.
    """
    most = np.finfo(rows.dtype).max
    return np.concatenate([rows, np.clip(own, -most, most).astype(rows.dtype)])


def judged(pool: Pool, name: str, sha256: str, misses: Sequence[MissRate] = ()) -> CalibratedAudit:
    """Everything that the calibration says about the candidate."""
    found = judge(pool.scores, pool.drift, pool.coordinates, COORDINATES, pool.combination)  # type: ignore[arg-type]
    frozen = tuple(rule.id for rule in pool.rules if rule.frozen)
    missing = tuple(i for i in frozen if i not in pool.scores or pool.scores[i].candidate is None)
    kin = independence(pool)
    combined = None if missing else found.combined
    return CalibratedAudit(
        name=name,
        sha256=sha256,
        n=pool.n,
        n_families=kin.families,
        n_effective=kin.n_effective,
        floor=1 / (pool.n + 1),
        combination=pool.combination,  # type: ignore[arg-type]
        frozen=frozen,
        missing=missing,
        p_combined=None if combined is None else combined.p,
        statistic=None if combined is None else combined.statistic,
        leading=None if combined is None else found.leading,
        stratum=_stratum(found) if combined is not None else None,
        support=_support(found.supported),
        degraded=_degraded(pool.among_degraded()),
        detectors=tuple(_places(pool, found)),
        stability=tuple(_stability(pool)),
        control=_control(pool),
        nuisance=dict(pool.candidate.nuisance),
        misses=tuple(misses),
    )


def independence(pool: Pool) -> Any:
    """How many models the benign ones are worth, by their combined scores among themselves."""
    benign = pool.models[:-1]
    frozen = {
        rule.id: PoolScores(scores.benign[:-1], float(scores.benign[-1]), rule.scale, rule.floor, True)
        for rule in pool.rules
        if rule.frozen and (scores := _alone(pool, rule)) is not None
    }
    names = [m.family for m in benign]
    if not frozen or len(benign) < 3:
        return families(np.zeros(len(benign)), names)
    found = combined_of(frozen, "max")
    return families(np.append(found.benign, found.statistic), names)


def _alone(pool: Pool, rule: DetectorRule) -> PoolScores | None:
    """Scores of the benign models with no candidate in the pool."""
    if not rule.fitted:
        return pool.scores.get(rule.id)
    summary = pool.summaries.get(rule.id)
    values = _over(rule.id, None if summary is None else summary[: pool.n])
    return None if values is None else PoolScores(values, None, rule.scale, rule.floor, rule.frozen)


def _over(name: str, summary: np.ndarray | None) -> np.ndarray | None:
    """Scores of a fitted detector over a pool; one that fails has none, and is missing."""
    score = detectors()[name].pool
    if summary is None or score is None:
        return None
    try:
        return np.asarray(score(np.asarray(summary, dtype=np.float64)))
    except Exception:  # noqa: BLE001 - whatever failed, the others still speak
        return None


def rules(
    models: Sequence[CalibrationModel], summaries: Summaries, score_method: str, wanted: Iterable[str] = ()
) -> tuple[DetectorRule, ...]:
    """Which detectors a calibration freezes: the wanted ones, or all that every benign model has.

    Of the feature methods, which differ little, the headline alone has a say beside `features.benign_z`; none has,
    unless asked for, where the dictionary misses more than half of what most benign models shift: nothing that such
    features say could support a `no`, so freezing them would only make every audit abstain.

    Raises:
        UserError: a wanted detector that is unknown, or that a benign model lacks.
    """
    known, chosen = detectors(), tuple(wanted)
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise UserError(
            f"unknown detector {unknown[0]!r}", expected=", ".join(known), got=unknown[0], code="unknown_detector"
        )
    found: list[DetectorRule] = []
    blind = _median_outside(models)
    for name, detector in known.items():
        lacking = _lacking(name, detector.fitted, models, summaries)
        if lacking and name in chosen:
            raise UserError(f"{name} cannot be frozen", got=lacking, code="detector_missing")
        reason = lacking or _left_out(name, detector.tier, score_method, chosen, blind)
        found.append(
            DetectorRule(
                id=name,
                scale=detector.scale,
                floor=detector.floor,
                fitted=detector.fitted,
                frozen=reason is None,
                reason=reason,
            )
        )
    if not any(rule.frozen for rule in found):
        raise UserError("no detector was measured on every benign model", code="detector_missing")
    return tuple(found)


def _lacking(name: str, fitted: bool, models: Sequence[CalibrationModel], summaries: Summaries) -> str | None:
    if fitted:
        return None if name in summaries else "not kept of every benign model"
    without = sum(m.scores.get(name) is None for m in models)
    return f"not measured on {without} of {len(models)} benign models" if without else None


def _median_outside(models: Sequence[CalibrationModel]) -> float:
    shares = [m.share_outside for m in models if m.share_outside is not None]
    return float(np.median(shares)) if shares else 0.0


def _left_out(name: str, tier: int, score_method: str, chosen: Sequence[str], outside: float) -> str | None:
    from radiograph.numerics import BLIND_SHARE

    if chosen:
        return None if name in chosen else "not asked for"
    if tier == 3 and outside > BLIND_SHARE:
        return f"the dictionary misses {outside:.0%} of what the median benign model shifts"
    if tier == 3 and name not in ("features.benign_z", f"features.{score_method}"):
        return "another reading of the same feature shifts"
    return None


def _places(pool: Pool, found: Judgement) -> Iterable[DetectorPlace]:
    for rule in pool.rules:
        rank, scores = found.detectors.get(rule.id), pool.scores.get(rule.id)
        if rank is None or scores is None or scores.candidate is None:
            continue
        low, median, high = map(float, np.quantile(scores.benign, [0.05, 0.5, 0.95]))
        yield DetectorPlace(
            id=rule.id,
            frozen=rule.frozen,
            scale=rule.scale,
            score=scores.candidate,
            p=rank.p,
            p_stratum=rank.p_stratum if len(scores.benign) == pool.n else None,
            rank=rank.rank,
            z=rank.z,
            median=median,
            low=low,
            high=high,
            benign=rank.benign,
        )


def _stratum(found: Judgement) -> StratumRecord | None:
    s = found.stratum
    return None if s is None else StratumRecord(index=s.index, n=s.n, p=s.p, floor=s.floor)


def _degraded(found: DegradedRank | None) -> DegradedPlace | None:
    support = None if found is None else _support(found.supported)
    if found is None or support is None:
        return None
    return DegradedPlace(
        n=found.n,
        p=found.p,
        floor=found.floor,
        strength=found.strength,
        leading=found.leading,
        others=found.others,
        support=support,
    )


def _support(s: Supported | None) -> SupportRecord | None:
    if s is None:
        return None
    return SupportRecord(
        inside=s.inside,
        p=s.p,
        distance=s.distance,
        deviant=s.deviant,
        deviations=dict(zip(COORDINATES, s.deviations, strict=True)),
    )


def _stability(pool: Pool) -> Iterable[StabilityPlace]:
    for name, value in pool.candidate.stability.items():
        benign = [m.stability[name] for m in pool.models[:-1] if name in m.stability]
        if benign:
            low = float(np.quantile(benign, 0.05))
            yield StabilityPlace(name=name, value=value, benign_q05=low, n=len(benign), low=value < low)


def _control(pool: Pool) -> ControlPlace | None:
    """Rank of the feature score, and the median rank of the same under random dictionaries, each among its own."""
    own = pool.candidate
    benign = [m for m in pool.models[:-1] if m.aggregate is not None and len(m.controls) == len(own.controls)]
    if own.aggregate is None or not own.controls or not benign:
        return None
    rank = 1 + sum(m.aggregate >= own.aggregate for m in benign if m.aggregate is not None)
    ranks = [1 + sum(m.controls[i] >= value for m in benign) for i, value in enumerate(own.controls)]
    middle = float(np.median(ranks))
    return ControlPlace(rank=rank, control_rank=middle, n=len(benign), adds=rank < middle)
