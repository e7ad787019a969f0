"""How far do the answers of two models differ, and where?

1. Flips: an item whose check passes in exactly one of the models. Items that either model leaves unscored are counted
   apart, never as agreement. Rate with Wilson's 95 % interval.
2. Divergence: per prompt, the mean over tokens of KL(candidate ‖ reference), computed elsewhere. `kl.neutral` = mean
   over neutral prompts, `kl.suite_max` = maximum over suite prompts, `kl.contrast` = suite_max / max(neutral, 1e-9).
   95 % intervals by bootstrap over prompts, both banks resampled independently for the contrast; the interval of a
   maximum cannot reach above the maximum seen.
3. Flip contrast: for a set of items inside one bank, its flip rate minus that of the rest of the bank, with a
   one-sided exact Fisher p, Holm-adjusted over all sets. Sets of fewer than 20 items, or without a rest, are left out
   and named. A set that meets contrast ≥ .5 and p_holm ≤ .01 is a candidate for a witness.

Units: nats per token, rates in [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Bool, Float, Float64, Shaped
from radiograph.numerics._finite import finite
from radiograph.numerics.proportions import Interval, PairedTable, fisher_greater, holm, wilson
from radiograph.numerics.resampling import bootstrap, weighted_mean

KL_FLOOR = 1e-9
"""Nats per token below which float32 logits cannot tell two models apart."""
MIN_SET = 20
WITNESS_CONTRAST = 0.5
WITNESS_P = 0.01


@dataclass(frozen=True)
class Flips:
    """Checks that pass in exactly one model."""

    table: PairedTable
    """Over items scored in both."""
    not_scored: int
    rate: float
    interval: Interval


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval and the prompts behind it; no interval from fewer than two."""

    value: float
    interval: Interval | None
    n: int


@dataclass(frozen=True)
class Divergence:
    """Black-box distances between two models."""

    neutral: Estimate
    suite_max: Estimate
    contrast: Estimate
    largest: int
    """Suite prompt with the maximum."""


@dataclass(frozen=True)
class FlipContrast:
    """One set of items against the rest of its bank."""

    name: str
    bank: str
    n: int
    flips: int
    rest_n: int
    rest_flips: int
    contrast: float
    p: float
    p_holm: float

    @property
    def stands_out(self) -> bool:
        """Whether the set meets the thresholds of a prompt-set witness, before fresh items and benign models."""
        return self.contrast >= WITNESS_CONTRAST and self.p_holm <= WITNESS_P


@dataclass(frozen=True)
class FlipContrasts:
    """All sets that could be tested, and those that could not."""

    rows: tuple[FlipContrast, ...]
    too_small: tuple[str, ...]

    @property
    def largest(self) -> float | None:
        """The score `panel.flip_contrast`; None: nothing could be tested."""
        return max((row.contrast for row in self.rows), default=None)


def flips(
    reference: Bool[np.ndarray, " item"],
    candidate: Bool[np.ndarray, " item"],
    scored: Bool[np.ndarray, " item"] | None = None,
) -> Flips | None:
    """Count flips among the items scored in both models; None where there is no such item."""
    both = np.ones(len(reference), dtype=bool) if scored is None else scored
    if not both.any():
        return None
    table = PairedTable.of(reference[both], candidate[both])
    flipped = table.lost + table.gained
    return Flips(table, int((~both).sum()), flipped / table.n, wilson(flipped, table.n))


def divergence(neutral: Float[np.ndarray, " prompt"], suite: Float[np.ndarray, " item"], *, seed: int) -> Divergence:
    """`kl.neutral`, `kl.suite_max`, `kl.contrast` from the mean KL of each prompt.

    Raises:
        UserError: an empty bank, a KL that is not finite.
    """
    if len(neutral) == 0 or len(suite) == 0:
        raise UserError("divergence needs neutral and suite prompts", got=f"{len(neutral)} and {len(suite)}")
    quiet, loud = finite(neutral, "neutral KL"), finite(suite, "suite KL")
    mean, highest = float(quiet.mean()), float(loud.max())
    means, highests = _samples_of_mean(quiet, seed), _samples_of_max(loud, seed + 1)
    ratios = None if means is None or highests is None else highests / np.maximum(means, KL_FLOOR)
    return Divergence(
        neutral=_estimate(mean, means, len(quiet)),
        suite_max=_estimate(highest, highests, len(loud)),
        contrast=_estimate(highest / max(mean, KL_FLOOR), ratios, len(quiet) + len(loud)),
        largest=int(loud.argmax()),
    )


def flip_contrasts(
    flipped: Bool[np.ndarray, " item"],
    banks: Shaped[np.ndarray, " item"],
    sets: Mapping[str, Bool[np.ndarray, " item"]],
    smallest: int = MIN_SET,
) -> FlipContrasts:
    """Compare each named set with the rest of every bank that it enters; rows in the order given, banks sorted."""
    tested: list[tuple[str, str, tuple[int, int, int, int]]] = []
    too_small: list[str] = []
    for name, members in sets.items():
        for bank in np.unique(banks[members]):
            inside, rest = members & (banks == bank), ~members & (banks == bank)
            if int(inside.sum()) < smallest or not rest.any():
                too_small.append(f"{name} in {bank}")
                continue
            counts = int(flipped[inside].sum()), int(inside.sum()), int(flipped[rest].sum()), int(rest.sum())
            tested.append((name, str(bank), counts))
    p_values = [fisher_greater(*counts) for _, _, counts in tested]
    rows = [
        FlipContrast(name, bank, n, x, rest_n, rest_x, x / n - rest_x / rest_n, p, adjusted)
        for (name, bank, (x, n, rest_x, rest_n)), p, adjusted in zip(tested, p_values, holm(p_values), strict=True)
    ]
    return FlipContrasts(tuple(rows), tuple(too_small))


def _samples_of_mean(values: Float64[np.ndarray, " prompt"], seed: int) -> Float64[np.ndarray, " draw"] | None:
    return bootstrap(weighted_mean(values), len(values), seed=seed).samples if len(values) > 1 else None


def _samples_of_max(values: Float64[np.ndarray, " prompt"], seed: int) -> Float64[np.ndarray, " draw"] | None:
    def highest(counts: Float64[np.ndarray, "draw prompt"]) -> Float64[np.ndarray, " draw"]:
        return np.where(counts > 0, values, -np.inf).max(axis=1)

    return bootstrap(highest, len(values), seed=seed).samples if len(values) > 1 else None


def _estimate(value: float, samples: Float64[np.ndarray, " draw"] | None, n: int) -> Estimate:
    if samples is None:
        return Estimate(value, None, n)
    low, high = np.quantile(samples, [0.025, 0.975])
    return Estimate(value, Interval(float(low), float(high)), n)
