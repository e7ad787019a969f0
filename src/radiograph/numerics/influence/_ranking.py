"""What a ranking of rows is worth: recall of known rows, and the linear datamodeling score.

LDS (Park, Georgiev, Ilyas, Leclerc and Madry 2023): models are retrained on random halves of the rows; a target's
score is the Spearman correlation, over halves, of the sum of its row scores with what the target became. The mean over
targets has a bootstrap interval over halves.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from radiograph.core import Refusal
from radiograph.core.shapes import Bool, Float, Float64, Int
from radiograph.numerics.audit.stability import spearman
from radiograph.numerics.proportions import Interval

FEWEST = 8


def ranked(scores: Float[np.ndarray, " row"], order: Int[np.ndarray, " row"] | None = None) -> Int[np.ndarray, " row"]:
    """Rows, highest score first; equal scores as in `order`, else as they stand."""
    tie = np.arange(len(scores)) if order is None else order
    return np.lexsort((tie, -np.asarray(scores, dtype=np.float64)))


def ranks(scores: Float[np.ndarray, " row"], order: Int[np.ndarray, " row"] | None = None) -> Int[np.ndarray, " row"]:
    """Place of each row in `ranked`, from 1."""
    out = np.empty(len(scores), dtype=np.int64)
    out[ranked(scores, order)] = np.arange(1, len(scores) + 1)
    return out


def recall_at(scores: Float[np.ndarray, " row"], known: Iterable[int], k: int | None = None) -> float:
    """Share of the known rows among the k highest; k is their number unless given.

    Raises:
        Refusal: no row is known.
    """
    wanted = set(known)
    if not wanted:
        raise Refusal("no_known_rows", "recall needs rows that are known")
    top = ranked(scores)[: len(wanted) if k is None else k]
    return len(wanted & set(top.tolist())) / len(wanted)


def lds(
    scores: Float[np.ndarray, "row target"],
    kept: Bool[np.ndarray, "subset row"],
    outcome: Float[np.ndarray, "subset target"],
    *,
    seed: int,
    resamples: int = 1000,
) -> tuple[float, Interval, int]:
    """Mean over targets of the Spearman correlation, its interval, and the targets that have one.

    Raises:
        Refusal: fewer than eight subsets, or outcomes that do not vary.
    """
    if len(kept) < FEWEST:
        raise Refusal("too_few_subsets", f"a correlation over subsets needs {FEWEST} at least", got=str(len(kept)))
    predicted = kept.astype(np.float64) @ scores.astype(np.float64)
    found = [rho for t in range(scores.shape[1]) if (rho := spearman(predicted[:, t], outcome[:, t])) is not None]
    if not found:
        raise Refusal("outcome_constant", "retraining on halves moved no target, so nothing can be correlated with it")
    generator = np.random.default_rng(seed)
    draws = [
        float(np.mean(values))
        for _ in range(resamples)
        if (values := _drawn(generator.integers(0, len(kept), len(kept)), predicted, outcome))
    ]
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(np.mean(found)), Interval(float(low), float(high)), len(found)


def _drawn(
    taken: Int[np.ndarray, " subset"],
    predicted: Float64[np.ndarray, "subset target"],
    outcome: Float[np.ndarray, "subset target"],
) -> list[float]:
    pairs = ((predicted[taken, t], np.asarray(outcome[taken, t], dtype=np.float64)) for t in range(predicted.shape[1]))
    return [rho for one, two in pairs if (rho := spearman(one, two)) is not None]
