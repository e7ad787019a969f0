"""A candidate's score among those of benign fine-tunes of the same reference: p-values that hold for any score.

1. One detector: p = (1 + #{i : s_i ≥ s}) / (n + 1) (Vovk, Gammerman and Shafer 2005). Ties count against the candidate,
   so equal models get p = 1. P(p ≤ α) ≤ α if the candidate is exchangeable with the n benign models.
2. Floor: no p below 1/(n + 1); at a smaller α nothing can be said (`resolution`).
3. Several detectors: in the pool of n + 1 models, candidate included, each model i gets
   T_i = max over detectors of (s_i − median₋ᵢ) / max(1.4826·MAD₋ᵢ, (q90₋ᵢ − median₋ᵢ)/1.2816, floor), leave-one-out,
   and p = #{i : T_i ≥ T_candidate} / (n + 1). The rule is symmetric in the pool, so p stays exact; unlike a maximum of
   ranks it keeps how far a score sticks out. The second spread is that of the upper side: where most benign models
   score nothing and a fifth of them a lot, the first is zero and each of that fifth would stick out without limit.
   Never the smallest of several p.
4. `fisher` instead: T_i = Σ over detectors of −log(rank of model i in the pool / (n + 1)), ranked alike. Stronger where
   many detectors move a little, weak where one moves a lot; chosen in the protocol, not after looking.

Units: scores in the detector's own; T in robust standard deviations. Large scores are suspicious. Non-finite scores are
errors: a comparison with NaN would count in the candidate's disfavour or favour by accident.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Float
from radiograph.numerics._finite import finite

MAD_TO_SD = 1.4826
"""Standard deviation over median absolute deviation, for a normal law."""
UPPER, UPPER_SD = 0.9, 1.2815515655446004
"""A quantile of the upper side, and where it lies in standard deviations for a normal law."""
TIE = 1e-9
"""Sums of equal logarithms in another order differ by less: they are ties."""
_CHUNK = 1 << 20
"""Scores held at once: 8 MiB."""


class Combined(NamedTuple):
    """Several detectors in one p-value."""

    p: float
    statistic: float
    """T of the candidate."""
    benign: Float[np.ndarray, " model"]
    """T of the benign models, each scored by the others and the candidate."""
    leading: int
    """Detector at which the candidate sticks out most."""


def conformal_p(score: float, benign: Float[np.ndarray, " model"]) -> float:
    """(1 + #{s_i ≥ score}) / (n + 1); 1 without benign models.

    Raises:
        UserError: a score is not finite.
    """
    candidate = finite(score, "candidate score")
    return (1 + int((finite(benign, "benign scores") >= candidate).sum())) / (len(benign) + 1)


def resolution_floor(n: int) -> float:
    """The smallest p that n benign models can give, which is also the smallest usable α."""
    return 1 / (n + 1)


def models_needed(alpha: float) -> int:
    """The fewest benign models with which p ≤ alpha is possible: 19 at .05, 99 at .01."""
    if not 0 < alpha <= 1:
        raise UserError("a significance level lies in (0, 1]", got=str(alpha))
    return math.ceil(round(1 / alpha, 9)) - 1


def combine(
    candidate: Float[np.ndarray, " detector"],
    benign: Float[np.ndarray, "model detector"],
    floor: Float[np.ndarray, " detector"],
) -> Combined:
    """One p over all detectors, from robust deviations inside the pool; `floor` is the least spread of each detector.

    Raises:
        UserError: no detector, fewer than two benign models, a score not finite, a floor not above zero.
    """
    pool = finite(np.vstack([benign, candidate]), "scores")
    if pool.shape[1] == 0 or len(pool) < 3 or (floor <= 0).any():
        raise UserError(
            "combining needs a detector, two benign models and positive floors",
            got=f"{pool.shape[1]} detectors, {len(pool) - 1} models, smallest floor {min(floor, default=0)}",
        )
    step = max(1, _CHUNK // pool.size)
    deviations = np.concatenate([_deviations(pool, i, step, floor) for i in range(0, len(pool), step)])
    statistic = deviations.max(axis=1)
    at_least = int((statistic >= statistic[-1]).sum())
    return Combined(at_least / len(pool), float(statistic[-1]), statistic[:-1], int(deviations[-1].argmax()))


def fisher(candidate: Float[np.ndarray, " detector"], benign: Float[np.ndarray, "model detector"]) -> Combined:
    """One p over all detectors, from ranks inside the pool.

    Raises:
        UserError: no detector, no benign model, a score not finite.
    """
    pool = finite(np.vstack([benign, candidate]), "scores")
    if pool.shape[1] == 0 or len(pool) < 2:
        raise UserError("combining needs a detector and a benign model", got=f"a pool of {pool.shape}")
    ordered = np.sort(pool, axis=0)
    # A rank is the number of models with a score at least as large, one's own included.
    ranks = np.stack(
        [len(pool) - np.searchsorted(ordered[:, d], pool[:, d], side="left") for d in range(pool.shape[1])], axis=1
    )
    parts = -np.log(ranks / len(pool))
    statistic = parts.sum(axis=1)
    at_least = int((statistic >= statistic[-1] - TIE).sum())
    return Combined(at_least / len(pool), float(statistic[-1]), statistic[:-1], int(parts[-1].argmax()))


def _deviations(
    pool: Float[np.ndarray, "model detector"], start: int, models: int, floor: Float[np.ndarray, " detector"]
) -> Float[np.ndarray, "scored detector"]:
    """Some models, each against all others: distance above their median, in robust standard deviations."""
    scored = np.arange(start, min(start + models, len(pool)))
    # Row i of `rest` counts 0 … n without i.
    rest = np.arange(len(pool) - 1)[None] + (np.arange(len(pool) - 1)[None] >= scored[:, None])
    median, spread = centre_and_spread(pool[rest])
    return (pool[scored] - median) / np.maximum(spread, floor)


def centre_and_spread(
    scores: Float[np.ndarray, "pool model detector"],
) -> tuple[Float[np.ndarray, "pool detector"], Float[np.ndarray, "pool detector"]]:
    """Median over models, and the larger of two robust standard deviations: of both sides, and of the upper one."""
    median = np.median(scores, axis=1)
    both = MAD_TO_SD * np.median(np.abs(scores - median[:, None]), axis=1)
    upper = (np.quantile(scores, UPPER, axis=1) - median) / UPPER_SD
    return median, np.maximum(both, upper)
