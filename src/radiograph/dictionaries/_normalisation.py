"""What is done to every row before the encoder sees it, and undone after the decoder: n and n⁻¹.

    none         x                                      centre      x − mean(x)
    layer_norm   (x − mean(x)) / (std(x) + 1e-5)        unit_rms    x · √d / ‖x‖
`std` divides by d − 1, as published dictionaries do. Rows of several sources are normalised source by source.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from radiograph.core.shapes import Float
from radiograph.dictionaries._document import Normalisation

EPSILON: Final = 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class Affine:
    """Normalised row = (row − offset) / scale; a column each of one value per row and source."""

    offset: Float[Tensor, "row source"]
    scale: Float[Tensor, "row source"]
    divisor: Float[Tensor, "row source"]
    """What the row was divided by: the scale and a small number, so that a constant row stays finite."""

    def apply(self, rows: Float[Tensor, "row width"], widths: Sequence[int]) -> Float[Tensor, "row width"]:
        """n(rows)."""
        return (rows - _spread(self.offset, widths)) / _spread(self.divisor, widths)

    def undo(self, rows: Float[Tensor, "row width"], widths: Sequence[int]) -> Float[Tensor, "row width"]:
        """n⁻¹(rows), for rows of any widths and as many sources."""
        return rows * _spread(self.scale, widths) + _spread(self.offset, widths)


def affine(rows: Float[Tensor, "row width"], widths: Sequence[int], how: Normalisation) -> Affine | None:
    """The map that normalises each row; None for `none`."""
    if how == "none":
        return None
    columns = [_one(part, how) for part in rows.split(list(widths), dim=1)]
    return Affine(*(torch.stack(column, 1) for column in zip(*columns, strict=True)))


def _one(rows: Float[Tensor, "row width"], how: Normalisation) -> tuple[Tensor, Tensor, Tensor]:
    ones, zeros = rows.new_ones(len(rows)), rows.new_zeros(len(rows))
    match how:
        case "centre":
            return rows.mean(1), ones, ones
        case "layer_norm":
            std = rows.std(1)
            return rows.mean(1), std, std + EPSILON
        case _:
            rms = rows.norm(dim=1) / rows.shape[1] ** 0.5
            return zeros, rms, torch.where(rms > 0, rms, ones)


def _spread(columns: Float[Tensor, "row source"], widths: Sequence[int]) -> Float[Tensor, "row width"]:
    if len(widths) == 1:
        return columns
    return columns.repeat_interleave(torch.tensor(widths, device=columns.device), dim=1)
