"""Rescued and broken: texts under a write against the texts of the same prompts without it.

1. pairs: a fine and fine, b collapsed then fine (rescued), c fine then collapsed (broken), d collapsed twice
2. rescue b/(b + d), breakage c/(a + c), Wilson 95 %; net (b − c)/n, percentile bootstrap over cores (2,000)
3. exact two-sided McNemar p of b against c   4. sign-flip p: the two sides exchanged core by core, statistic |b − c|;
   every exchange where there are at most 2¹³, else 9,999 drawn
Pairs with a text that is not scored are left out and counted. Under 4 cores there is no interval of net; the smallest
p that exchanging cores can reach is 2^(1−C), or 1/10,000.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Bool, Float64
from radiograph.numerics.proportions import Interval, mcnemar_two_sided, wilson

MIN_CORES, RESAMPLES, DRAWS = 4, 2000, 9_999
_EXACT = 14


@dataclass(frozen=True, slots=True)
class Contingency:
    """What became of the pairs of one condition. Rates without a denominator are None."""

    fine: int
    rescued: int
    broken: int
    collapsed: int
    net: float
    net_interval: Interval | None
    p: float
    p_cores: float
    smallest_cores: float

    @property
    def n(self) -> int:
        """Pairs."""
        return self.fine + self.rescued + self.broken + self.collapsed

    @property
    def rescue(self) -> tuple[float, Interval] | None:
        """Share of collapsed baselines that are fine now."""
        return _rate(self.rescued, self.rescued + self.collapsed)

    @property
    def breakage(self) -> tuple[float, Interval] | None:
        """Share of fine baselines that are collapsed now."""
        return _rate(self.broken, self.fine + self.broken)


def contingency(
    before: Bool[np.ndarray, " pair"], after: Bool[np.ndarray, " pair"], cores: Sequence[Hashable], *, seed: int = 0
) -> Contingency:
    """Count and test pairs; True is collapsed.

    Raises:
        UserError: no pair.
    """
    if not len(before):
        raise UserError("no pair of scored texts", expected="a baseline row and a row under the write, of one prompt")
    rescued, broken = int((before & ~after).sum()), int((~before & after).sum())
    places = _numbered(cores)
    sums = np.bincount(places, weights=before.astype(float) - after)
    p_cores, smallest = _flips(sums, seed)
    return Contingency(
        fine=int((~before & ~after).sum()),
        rescued=rescued,
        broken=broken,
        collapsed=int((before & after).sum()),
        net=(rescued - broken) / len(before),
        net_interval=_interval(sums, np.bincount(places).astype(float), seed),
        p=mcnemar_two_sided(rescued, broken),
        p_cores=p_cores,
        smallest_cores=smallest,
    )


def _rate(count: int, total: int) -> tuple[float, Interval] | None:
    return (count / total, wilson(count, total)) if total else None


def _numbered(cores: Sequence[Hashable]) -> np.ndarray:
    seen: dict[Hashable, int] = {}
    return np.array([seen.setdefault(core, len(seen)) for core in cores])


def _flips(sums: Float64[np.ndarray, " core"], seed: int) -> tuple[float, float]:
    """Two-sided p, and the smallest that this many cores allow."""
    observed, cores = abs(sums.sum()), len(sums)
    if cores <= _EXACT:
        places = np.arange(1 << (cores - 1))
        every = np.stack([1.0 - 2.0 * ((places >> core) % 2) for core in range(cores)], axis=1)
        return float((np.abs(every @ sums) >= observed - 1e-9).mean()), 2.0 ** (1 - cores)
    drawn = np.random.default_rng(seed).integers(0, 2, (DRAWS, cores))
    signs: np.ndarray = 1 - 2.0 * drawn
    reached = int((np.abs(signs @ sums) >= observed - 1e-9).sum())
    return (1 + reached) / (DRAWS + 1), 1 / (DRAWS + 1)


def _interval(sums: np.ndarray, sizes: np.ndarray, seed: int) -> Interval | None:
    if len(sums) < MIN_CORES:
        return None
    drawn = np.random.default_rng(seed).integers(0, len(sums), (RESAMPLES, len(sums)))
    low, high = np.quantile(sums[drawn].sum(1) / sizes[drawn].sum(1), [0.025, 0.975])
    return Interval(float(low), float(high))
