"""Does a factor go together with something that it is not about, such as length?

1. η² = SS_between / SS_total of a covariate over the factor's levels (0 where the covariate does not vary); Cramér's V
   for a covariate that is a name, such as the last token.
2. p: labels are permuted inside strata (the core of a prompt, or its bank and task), 499 times, seeded;
   p = (1 + #{permuted ≥ observed}) / (1 + permutations). Rows of one paraphrase group that share the label move
   together, so that ten paraphrases are not ten independent texts.
3. Above .14 with p < .05 a reader should know; above .30 with p < .05 the factor is called confounded.

A factor that does not vary inside any stratum cannot be permuted: p is None, and nothing is called confounded.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from radiograph.core.shapes import Float64, Int
from radiograph.numerics._finite import finite
from radiograph.numerics.design.cross import cramers_v

WARNED, CONFOUNDED, MAX_P = 0.14, 0.30, 0.05
PERMUTATIONS = 499
_CHUNK = 1 << 20
"""Labels permuted at once."""


@dataclass(frozen=True, eq=False)
class Labelling:
    """A factor over rows, and what may be exchanged with what."""

    labels: Sequence[Hashable]
    strata: Sequence[Hashable]
    """Labels move inside a stratum only."""
    groups: Sequence[Hashable]
    """Rows of one stratum, group and label move together."""

    @cached_property
    def codes(self) -> Int[np.ndarray, " row"]:
        """Labels as numbers."""
        return _numbered(self.labels)

    @property
    def levels(self) -> int:
        """Number of labels."""
        return int(self.codes.max()) + 1

    @cached_property
    def blocks(self) -> Int[np.ndarray, " row"]:
        """What moves together, as numbers."""
        return _numbered(list(zip(self.strata, self.groups, self.labels, strict=True)))

    @property
    def movable(self) -> bool:
        """Whether any stratum holds two labels."""
        return len(set(zip(self.strata, self.labels, strict=True))) > len(set(self.strata))

    def permuted(self, permutations: int, seed: int) -> Iterator[Int[np.ndarray, "draw block"]]:
        """Labels of the blocks after permutation inside strata, in chunks."""
        _, first = np.unique(self.blocks, return_index=True)
        labels, strata = self.codes[first], _numbered(self.strata)[first]
        places = np.argsort(strata, kind="stable")
        generator = np.random.default_rng(seed)
        step = max(1, _CHUNK // len(first))
        for start in range(0, permutations, step):
            draws = min(step, permutations - start)
            order = np.argsort(strata + generator.random((draws, len(first))), axis=1)
            chunk = np.empty_like(order)
            chunk[:, places] = labels[order]
            yield chunk


def eta_squared(
    values: Float64[np.ndarray, "row covariate"], labelling: Labelling, *, seed: int, permutations: int = PERMUTATIONS
) -> list[tuple[float, float | None]]:
    """(η², p) of every covariate.

    Raises:
        UserError: a value is not finite.
    """
    centred = finite(values, "covariate") - values.mean(axis=0)
    total = (centred**2).sum(axis=0)
    blocks = labelling.blocks
    sizes = np.bincount(blocks).astype(np.float64)
    sums = np.stack([np.bincount(blocks, weights=column) for column in centred.T], axis=1)
    _, first = np.unique(blocks, return_index=True)
    observed = _between(labelling.codes[first][None], sums, sizes, labelling.levels)[0]
    share = np.where(total > 0, observed / np.where(total > 0, total, 1.0), 0.0)
    if not labelling.movable:
        return [(float(x), None) for x in share]
    reached = np.zeros(values.shape[1])
    for chunk in labelling.permuted(permutations, seed):
        reached += (_between(chunk, sums, sizes, labelling.levels) >= observed * (1 - 1e-9) - 1e-12).sum(axis=0)
    return [(float(x), float(p)) for x, p in zip(share, (1 + reached) / (1 + permutations), strict=True)]


def association(
    names: Sequence[Hashable], labelling: Labelling, *, seed: int, permutations: int = PERMUTATIONS
) -> tuple[float, float | None]:
    """(Cramér's V, p) of a covariate that is a name."""
    observed = cramers_v(names, labelling.labels)
    if not labelling.movable:
        return observed, None
    tokens = _numbered(names)
    width, levels = int(tokens.max()) + 1, labelling.levels
    column = np.bincount(tokens).astype(np.float64)
    small, reached = max(1, min(width, levels) - 1), 0
    for chunk in labelling.permuted(permutations, seed):
        for labels in chunk[:, labelling.blocks]:
            table = np.bincount(labels * width + tokens, minlength=levels * width).reshape(levels, width)
            phi = (table**2 / (table.sum(axis=1, keepdims=True) * column)).sum() - 1
            reached += bool(phi / small >= observed**2 - 1e-9)
    return observed, (1 + reached) / (1 + permutations)


def _between(
    labels: Int[np.ndarray, "draw block"],
    sums: Float64[np.ndarray, "block covariate"],
    sizes: Float64[np.ndarray, " block"],
    levels: int,
) -> Float64[np.ndarray, "draw covariate"]:
    """Sum of squares between levels, of centred covariates."""
    draws = len(labels)
    place = (labels + levels * np.arange(draws)[:, None]).ravel()

    def summed(weights: Float64[np.ndarray, " block"]) -> Float64[np.ndarray, "draw level"]:
        flat = np.bincount(place, weights=np.tile(weights, draws), minlength=draws * levels)
        return flat.reshape(draws, levels)

    counts = summed(sizes)
    return np.stack([(summed(column) ** 2 / counts).sum(axis=1) for column in sums.T], axis=1)


def _numbered(names: Sequence[Hashable]) -> Int[np.ndarray, " row"]:
    """0, 1, … in the order of first appearance."""
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(name, len(known)) for name in names], dtype=np.int64)
