"""Rows on which a dictionary is measured, in passes that can be repeated, and what a first pass over them learns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from radiograph.core import Refusal
from radiograph.core.shapes import Float, Float64, Int
from radiograph.dictionaries._dictionary import Dictionary
from radiograph.dictionaries._quality import check_finite, plain
from radiograph.numerics.dictionaries.tables import DECILES
from radiograph.numerics.moments import Moments

MOST_NORMS = 2_000_000
"""Norms kept for deciles; of more rows every n-th."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Some rows: what is read, what is to be written, and whose they are."""

    inputs: Float[Tensor, "row width"]
    targets: Float[Tensor, "row target"]
    """The same object where a dictionary writes what it reads."""
    units: Int[np.ndarray, " row"]
    """Unit of resampling, as `numerics.dictionaries.units.deal` gives it."""
    positions: Int[np.ndarray, " row"]
    """Place of the token in its window."""


Blocks = Callable[[], Iterator[Block]]
"""A fresh pass over the same rows in the same order."""


@dataclass(frozen=True, slots=True, eq=False)
class Survey:
    """What must be known of the rows before they are compared with anything."""

    n: int
    units: int
    means: tuple[Float64[np.ndarray, " width"], ...]
    """ȳ of each target."""
    variances: tuple[float, ...]
    """Mean of ‖y − ȳ‖² of each target."""
    deciles: tuple[Float[np.ndarray, " edge"], ...]
    """Inner bounds of the ten parts of the norms of each target."""

    @property
    def mean(self) -> Float64[np.ndarray, " target"]:
        """ȳ, all targets side by side."""
        return np.concatenate(self.means)

    @property
    def spread(self) -> Float64[np.ndarray, " target"]:
        """√V of each column's target: what a column is divided by where targets are to count the same."""
        return np.concatenate([np.full(len(m), v**0.5) for m, v in zip(self.means, self.variances, strict=True)])


def survey(dictionary: Dictionary, blocks: Blocks) -> Survey:
    """Means, variances and norm deciles of the rows that a dictionary is to write.

    Raises:
        UserError: a value that is not finite.
        Refusal: `no_rows`, or `no_variance` where a target does not vary.
    """
    moments = [Moments(width) for width in dictionary.target_widths]
    norms: list[list[np.ndarray]] = [[] for _ in moments]
    n, units = 0, 0
    for block in blocks():
        check_finite(block.inputs)
        check_finite(block.targets)
        for part, moment, held in zip(dictionary.split_targets(block.targets), moments, norms, strict=True):
            rows = plain(part).cpu()
            moment.add(rows.numpy())
            held.append(rows.norm(dim=1).float().numpy())
        n += len(block.units)
        units = max(units, int(block.units.max(initial=-1)) + 1)
    if not n:
        raise Refusal("no_rows", "there is no row to measure on")
    for target, moment in zip(dictionary.targets, moments, strict=True):
        if not moment.variance > 0:
            raise Refusal("no_variance", "rows that do not vary have no FVU", got=f"{n} equal rows at {target}")
    return Survey(
        n=n,
        units=units,
        means=tuple(m.mean for m in moments),
        variances=tuple(m.variance for m in moments),
        deciles=tuple(_deciles(np.concatenate(held)) for held in norms),
    )


def _deciles(norms: Float[np.ndarray, " row"]) -> Float[np.ndarray, " edge"]:
    sample = norms[:: max(1, len(norms) // MOST_NORMS)]
    return np.quantile(sample.astype(np.float64), np.arange(1, DECILES) / DECILES)
