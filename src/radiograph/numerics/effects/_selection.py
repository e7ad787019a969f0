"""Which dose is used? The one that surely does most, among those that do no harm; perhaps none.

1. Side effects at a dose: mean and 95th percentile of KL(baseline ‖ intervened) per token of neutral text, its
   perplexity ratio exp(mean difference of NLL per token), mean |Δ outcome| on negatives and near misses, groups
   counting once. (Repetition of generations: `numerics.repetition`.)
2. Acceptable: interval of E excludes 0, mean KL ≤ .1, perplexity ratio ≤ 1.1, |Δ| on negatives ≤ .5·|E|. A side effect
   that was not measured is a reason against a dose, never a pass.
3. Chosen, on discover: the largest bound of |E| nearest 0 among acceptable doses; equal ones: the first given. None
   left: `none_acceptable`, with the reasons of every dose. No winner is forced.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Bool, Float, Float64, Integer
from radiograph.numerics._finite import finite
from radiograph.numerics.effects._effect import group_means

Reason = Literal["not_measured", "no_effect", "kl", "ppl", "negative", "kl_missing", "ppl_missing", "negative_missing"]
NONE_ACCEPTABLE = "none_acceptable"


@dataclass(frozen=True)
class Limits:
    """What a dose may cost."""

    kl: float = 0.1
    """Nats per token of neutral text, mean."""
    ppl: float = 1.1
    """Perplexity over that of the baseline."""
    negative: float = 0.5
    """|Δ outcome| on negatives and near misses over |E|."""


@dataclass(frozen=True, eq=False)
class Selection:
    """The choice among doses, or none with reasons."""

    chosen: int | None
    """Place of the dose in the order given; None: `none_acceptable`."""
    bound: Float64[np.ndarray, " dose"]
    """Bound of |E| nearest 0; 0 where the interval contains 0."""
    reasons: tuple[tuple[Reason, ...], ...]
    """Why each dose is not acceptable; empty for one that is."""


def select(
    estimate: Float[np.ndarray, " dose"],
    low: Float[np.ndarray, " dose"],
    high: Float[np.ndarray, " dose"],
    *,
    kl: Float[np.ndarray, " dose"],
    ppl: Float[np.ndarray, " dose"],
    negative: Float[np.ndarray, " dose"],
    limits: Limits | None = None,
) -> Selection:
    """Choose among doses and sites measured on discover; NaN is what was not measured."""
    allowed = limits or Limits()
    size, measured = np.abs(estimate), ~np.isnan(estimate) & ~np.isnan(low) & ~np.isnan(high)
    real = measured & ((low > 0) | (high < 0))
    bound = np.where(real, np.minimum(np.abs(low), np.abs(high)), 0.0)
    against: list[tuple[Reason, Bool[np.ndarray, " dose"]]] = [
        ("not_measured", ~measured),
        ("no_effect", measured & ~real),
        ("kl", kl > allowed.kl),
        ("ppl", ppl > allowed.ppl),
        ("negative", negative > allowed.negative * size),
        ("kl_missing", np.isnan(kl)),
        ("ppl_missing", np.isnan(ppl)),
        ("negative_missing", np.isnan(negative)),
    ]
    acceptable = ~np.logical_or.reduce([bad for _, bad in against])
    reasons: list[tuple[Reason, ...]] = [tuple(name for name, bad in against if bad[d]) for d in range(len(estimate))]
    chosen = int(np.where(acceptable, bound, -1.0).argmax()) if acceptable.any() else None
    return Selection(chosen, bound, tuple(reasons))


@dataclass(frozen=True)
class SideEffects:
    """What a dose does elsewhere."""

    kl: float
    kl_q95: float
    ppl: float
    tokens: int


def side_effects(
    kl: Float[np.ndarray, " token"], baseline_nll: Float[np.ndarray, " token"], nll: Float[np.ndarray, " token"]
) -> SideEffects:
    """On the tokens of neutral text.

    Raises:
        UserError: no token, or a number that is not finite.
    """
    if not len(kl):
        raise UserError("side effects need tokens of neutral text", got="none")
    values = finite(kl, "KL")
    ratio = float(np.exp((finite(nll, "NLL") - finite(baseline_nll, "baseline NLL")).mean()))
    return SideEffects(float(values.mean()), float(np.quantile(values, 0.95)), ratio, len(values))


def drift(change: Float[np.ndarray, " row"], group: Integer[np.ndarray, " row"]) -> float | None:
    """Mean over groups of the mean |Δ outcome|: D of the strong causal score; None without rows."""
    if not len(change):
        return None
    none = np.zeros(len(change), dtype=np.int64)
    return float(group_means(np.abs(change), none, group, 1).estimate[0])
