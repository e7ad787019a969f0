"""What a study could have found: minimal detectable effects, who is worth testing, and how many units would do.

z* = z_{1−q/2K} + z_{0.8}: an effect of z* standard errors survives K tests at q with probability 0.8.
1. minimal detectable effect of a feature: z*·√V/(PQ) from ½ for an AUROC, z*·√n_active/(2n) for pairs, z*/√(N−1)
   for ρ; of a dense feature V without ties: z*·√((N + 1)/(12PQ))
2. eligible (Bourgon, Gentleman and Huber 2010; labels are not looked at): active in ≥ 10 units, and its largest
   possible |z| is at least z*. For two classes that is n_f/(2·min(P, Q)) ≥ the minimal detectable effect
3. units needed for an effect e: N·(minimal/|e|)²

Units: distance from ½ of an AUROC, or of a correlation from 0.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from radiograph.core.shapes import Bool, Float64, Int64
from radiograph.numerics.association._columns import Columns, added
from radiograph.numerics.association._units import Units

FEWEST_ACTIVE = 10
POWER = 0.8


def needed_z(q: float, candidates: int) -> float:
    """z* of a family."""
    return NormalDist().inv_cdf(1 - q / (2 * candidates)) + NormalDist().inv_cdf(POWER)


def dense_mde(units: Units, q: float, candidates: int) -> float:
    """Minimal detectable effect of a feature without ties."""
    z = needed_z(q, candidates)
    if units.design == "within":
        return z * 0.5 / math.sqrt(units.blocks)
    n = np.bincount(units.block).astype(np.float64)
    mean = added(units.block, units.label) / n
    inside = added(units.block, np.square(units.label - mean[units.block]))
    if units.design == "continuous":
        return z / math.sqrt(max(len(units) - 1, 1))
    # Var = Σ_b [Σ_b (w − w̄)²]·var(rank), and ranks of a stratum of N vary by N(N + 1)/12.
    of_block = np.zeros(len(n), np.int64)
    of_block[units.block] = units.stratum
    size = np.bincount(units.stratum, minlength=units.strata).astype(np.float64)
    variance = float((inside * (size * (size + 1) / 12)[of_block]).sum())
    positive = added(units.stratum, units.label, units.strata)
    return z * math.sqrt(variance) / float((positive * (size - positive)).sum())


def reachable_z(
    table: Columns, units: Units, variance: Float64[np.ndarray, " feature"]
) -> Float64[np.ndarray, " feature"]:
    """An upper bound of |z| whatever the labels of each block turn out to be: Σ_active max|w − w̄|·N/2, over √V."""
    weight = ranks_of(units)
    n = np.maximum(np.bincount(units.block), 1)
    mean = added(units.block, weight) / n
    furthest = np.zeros(len(n))
    np.maximum.at(furthest, units.block, np.abs(weight - mean[units.block]))
    reach = (furthest[units.block] * np.bincount(units.stratum)[units.stratum] / 2)[table.unit]
    total = table.sums(np.where(table.value != 0, reach, 0.0))
    return np.divide(total, np.sqrt(variance), out=np.zeros(table.features), where=variance > 1e-12)


def eligible(
    active: Int64[np.ndarray, " feature"], reach: Float64[np.ndarray, " feature"], q: float, candidates: int
) -> Bool[np.ndarray, " feature"]:
    """Active often enough, and able to reach z*."""
    return (active >= FEWEST_ACTIVE) & (reach >= needed_z(q, candidates))


def units_needed(
    n: int, mde: Float64[np.ndarray, " feature"], effect: Float64[np.ndarray, " feature"]
) -> Float64[np.ndarray, " feature"]:
    """Units with which `effect` would be found, labels and firing shared out as here; NaN for no effect."""
    known = (effect != 0) & np.isfinite(mde)
    ratio = np.divide(mde, effect, out=np.full(len(effect), np.nan), where=known)
    return np.ceil(n * ratio**2)


def ranks_of(units: Units) -> Float64[np.ndarray, " unit"]:
    """The weights of a statistic: labels, or mid-ranks of the score inside strata."""
    if units.design != "continuous":
        return units.label
    order = np.lexsort((units.label, units.stratum))
    new = np.ones(len(order), dtype=bool)
    new[1:] = (np.diff(units.label[order]) != 0) | (np.diff(units.stratum[order]) != 0)
    start = np.flatnonzero(new)
    length = np.diff(np.append(start, len(order)))
    before = np.cumsum(np.bincount(units.stratum)) - np.bincount(units.stratum)
    rank = np.empty(len(order))
    rank[order] = np.repeat(start + (length + 1) / 2, length) - before[units.stratum[order]]
    return rank
