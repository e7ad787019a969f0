"""How far two crossed factors and their interaction account for a number, within cores.

1. The core's mean is taken off every row: cores are blocks.
2. Balanced cells: SS of factor A, B and A × B from the means of levels and cells; partial η² = SS/(SS + SS_error).
   Cells that differ in size: the means are those of rows, and the sums no longer add up exactly; `balanced` says so.
3. p by labels permuted within cores, cells moving as a whole: of A × B, of A and of B alike; the largest partial η²
   that chance gives is known with it.

Refuses one level, or no row to spare for the error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Float64, Int64

TERMS = ("A", "B", "A × B")


@dataclass(frozen=True)
class Factorial:
    """Of one number: partial η² of each term, p, and quantiles of the null."""

    partial: tuple[float, float, float]
    p: tuple[float, float, float]
    null: tuple[tuple[float, float], tuple[float, float], tuple[float, float]]
    """Median and 95 % of each term's partial η² under permutation."""
    smallest: float
    balanced: bool


def factorial(
    values: Float64[np.ndarray, " row"],
    first: Sequence[Hashable],
    second: Sequence[Hashable],
    cores: Sequence[Hashable],
    *,
    seed: int,
    permutations: int = 999,
) -> Factorial:
    """Partial η² of two factors and their interaction.

    Raises:
        UserError: a factor of one level, or as many cells as rows.
    """
    a, b, core = (_numbered(own) for own in (first, second, cores))
    if a.max() < 1 or b.max() < 1 or (a.max() + 1) * (b.max() + 1) >= len(values):
        raise UserError(
            "two factors of two levels or more are needed, and more rows than cells",
            got=f"{a.max() + 1} × {b.max() + 1} cells, {len(values)} rows",
        )
    block = np.bincount(core, weights=values) / np.bincount(core)
    centred = values - block[core]
    observed = partial_eta_squared(centred, a, b)
    generator = np.random.default_rng(seed)
    places = np.argsort(core, kind="stable")
    null = np.empty((permutations, 3))
    for draw in range(permutations):
        order = np.argsort(core + generator.random(len(core)))
        moved = np.empty_like(order)
        moved[places] = order
        null[draw] = partial_eta_squared(centred, a[moved], b[moved])
    p = (1 + (null >= observed - 1e-9).sum(axis=0)) / (1 + permutations)
    median, high = np.quantile(null, [0.5, 0.95], axis=0)
    sizes = Counter(zip(a.tolist(), b.tolist(), strict=True))
    return Factorial(
        _three(observed),
        _three(p),
        ((median[0], high[0]), (median[1], high[1]), (median[2], high[2])),
        1 / (1 + permutations),
        len(set(sizes.values())) == 1 and len(sizes) == int((a.max() + 1) * (b.max() + 1)),
    )


def partial_eta_squared(
    centred: Float64[np.ndarray, " row"], a: Int64[np.ndarray, " row"], b: Int64[np.ndarray, " row"]
) -> Float64[np.ndarray, " term"]:
    """A, B, A × B of values without their block means."""
    one, two = _between(centred, a), _between(centred, b)
    cells = _between(centred, a * (int(b.max()) + 1) + b)
    crossed = max(cells - one - two, 0.0)
    error = max(float(centred @ centred) - max(cells, one + two), 0.0)
    parts = np.array([one, two, crossed])
    whole = parts + error
    return np.divide(parts, whole, out=np.zeros(3), where=whole > 1e-300)


def _between(values: Float64[np.ndarray, " row"], codes: Int64[np.ndarray, " row"]) -> float:
    sizes = np.bincount(codes)
    sums = np.bincount(codes, weights=values)
    return float((sums**2 / np.maximum(sizes, 1)).sum())


def _numbered(names: Sequence[Hashable]) -> Int64[np.ndarray, " row"]:
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(name, len(known)) for name in names], dtype=np.int64)


def _three(values: Float64[np.ndarray, " term"]) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
