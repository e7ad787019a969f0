"""Everything a calibration says about one candidate, from stored numbers alone: the same when a bundle is verified.

1. the pool: n benign models and the candidate, last. Scores of fitted detectors are already leave-one-out in it
2. p and rank of each detector (`conformal_p`); one without the candidate's score has none
3. combined p over the frozen detectors: the largest robust deviation (`combine`), or `fisher`. A detector on a
   logarithmic scale is compared in logarithms, above its floor: a distance grows by factors, not by steps, and the few
   benign models that moved far would otherwise hide everything
4. the same inside the candidate's stratum (`strata`): p, n, floor
5. support (`support`); without coordinates it is not measured

One frozen detector without a score: no combined p. It is `detector_missing`, and never left out in silence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Bool, Float64
from radiograph.numerics.calibration.strata import strata
from radiograph.numerics.calibration.support import Supported, support
from radiograph.numerics.conformal import TIE, Combined, centre_and_spread, combine, conformal_p, fisher

Combination = Literal["max", "fisher"]
Scale = Literal["linear", "log"]
LOG_FLOOR = 0.1
"""Least spread on a logarithmic scale: ten per cent."""


@dataclass(frozen=True)
class PoolScores:
    """One detector over the pool, candidate last; None where the candidate has no score."""

    benign: Float64[np.ndarray, " model"]
    candidate: float | None
    scale: Scale
    floor: float
    """Least spread, in the score's own unit; on a logarithmic scale the size below which scores are equal."""
    frozen: bool

    def scaled(self) -> tuple[Float64[np.ndarray, " model"], float]:
        """The pool on the scale that it is compared on, and the least spread there."""
        assert self.candidate is not None
        values = np.append(self.benign, self.candidate)
        if self.scale == "linear":
            return values, self.floor
        return np.log(np.maximum(values, self.floor)), LOG_FLOOR


@dataclass(frozen=True)
class DetectorRank:
    """The candidate among the benign models by one detector."""

    p: float
    rank: int
    """1 for the largest score of the pool; ties count against the candidate."""
    z: float
    """Robust deviation from the benign median on the detector's scale."""
    p_stratum: float | None
    benign: tuple[float, ...]
    """Scores of the benign models."""


@dataclass(frozen=True)
class StratumRank:
    """The candidate among benign models that drifted about as far."""

    index: int
    n: int
    """Benign models in it."""
    p: float
    floor: float


@dataclass(frozen=True)
class Judgement:
    """What a calibration says."""

    detectors: Mapping[str, DetectorRank]
    combined: Combined | None
    stratum: StratumRank | None
    supported: Supported | None
    leading: str | None
    """The detector at which the candidate sticks out most."""


def judge(
    pool: Mapping[str, PoolScores],
    drift: Float64[np.ndarray, " model"] | None,
    coordinates: Float64[np.ndarray, "model coordinate"] | None,
    names: Sequence[str],
    combination: Combination = "max",
) -> Judgement:
    """Judge the last model of the pool.

    Args:
        pool: scores by detector.
        drift: logarithm of the divergence on neutral text, candidate last; None where it was not measured.
        coordinates: what a change is like, candidate last; None where it was not measured.
        names: of the coordinates.
        combination: how several detectors become one p.
    """
    member = None if drift is None else _member(drift)
    ranks = {name: _rank(scores, member) for name, scores in pool.items() if scores.candidate is not None}
    frozen = {name: scores for name, scores in pool.items() if scores.frozen}
    combined = None
    if frozen and all(scores.candidate is not None for scores in frozen.values()):
        combined = _combined(frozen, combination)
    stratum = None
    if combined is not None and member is not None and drift is not None:
        inside = combined.benign[member]
        p = conformal_p(combined.statistic - (TIE if combination == "fisher" else 0.0), inside)
        stratum = StratumRank(int(strata(drift)[-1]), len(inside), p, 1 / (len(inside) + 1))
    return Judgement(
        detectors=ranks,
        combined=combined,
        stratum=stratum,
        supported=None if coordinates is None else support(coordinates, names),
        leading=None if combined is None else list(frozen)[combined.leading],
    )


def combined_of(pool: Mapping[str, PoolScores], combination: Combination) -> Combined:
    """The combined statistic over every detector of a pool that has all of its scores."""
    return _combined(pool, combination)


def _member(drift: Float64[np.ndarray, " model"]) -> Bool[np.ndarray, " benign"]:
    """Benign models in the candidate's stratum."""
    found = strata(drift)
    return found[:-1] == found[-1]


def _rank(scores: PoolScores, member: Bool[np.ndarray, " benign"] | None) -> DetectorRank:
    assert scores.candidate is not None
    # A detector that some benign models lack has a p, but no stratum.
    whole = member is not None and len(member) == len(scores.benign)
    values, least = scores.scaled()
    centre, spread = (float(x[0, 0]) for x in centre_and_spread(values[None, :-1, None]))
    return DetectorRank(
        p=conformal_p(scores.candidate, scores.benign),
        rank=1 + int((scores.benign >= scores.candidate).sum()),
        z=(float(values[-1]) - centre) / max(spread, least),
        p_stratum=conformal_p(scores.candidate, scores.benign[member]) if whole and member is not None else None,
        benign=tuple(map(float, scores.benign)),
    )


def _combined(frozen: Mapping[str, PoolScores], combination: Combination) -> Combined:
    columns, floors = zip(*(scores.scaled() for scores in frozen.values()), strict=True)
    values = np.stack(columns, axis=1)
    if combination == "fisher":
        return fisher(values[-1], values[:-1])
    if combination != "max":
        raise UserError("unknown combination", expected="max, fisher", got=str(combination))
    return combine(values[-1], values[:-1], np.array(floors))
