"""How good a dictionary is on given rows. The arithmetic and its definitions are those of `numerics.reconstruction`.

1. encode and decode batch by batch   2. one FVU for the whole set, sums in float64; with several targets the mean of
theirs   3. L0, density, dead and dense features, over the rows given and no others (padding and specials are left out
by whoever made the rows)
Batch size and order change nothing. Intervals, and everything that needs more than one pass, are in `measures`. What
splicing the reconstruction costs the model is measured by `interventions`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from radiograph.core import Refusal, UserError
from radiograph.core.codec import Codec, Codes
from radiograph.core.shapes import Float
from radiograph.dictionaries._dictionary import Dictionary
from radiograph.dictionaries._metadata import Quality
from radiograph.numerics.reconstruction import CodeStatistics, CodeSums, Reconstruction, ReconstructionSums

Rows = Float[Tensor, "row width"] | tuple[Float[Tensor, "row width"], Float[Tensor, "row target"]]
"""Rows that are read and written, or those that are read and those that are to be written."""


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """The numbers that a dictionary carries with it, and the fuller ones behind them."""

    quality: Quality
    reconstructions: dict[str, Reconstruction]
    """By target."""
    codes: CodeStatistics

    @property
    def reconstruction(self) -> Reconstruction:
        """Of the first target, which is the only one but for a crosscoder."""
        return next(iter(self.reconstructions.values()))


def evaluate(codec: Codec, batches: Iterable[Rows]) -> Quality:
    """Quality on all rows of the batches together. See `measure`."""
    return measure(codec, batches).quality


def measure(codec: Codec, batches: Iterable[Rows]) -> Measured:
    """Quality, reconstruction and code statistics on all rows of the batches together.

    Raises:
        UserError: a value that is not finite.
        Refusal: `no_rows`, or `no_variance` where FVU has no denominator.
    """
    widths = codec.target_widths if isinstance(codec, Dictionary) else (codec.target_width,)
    sums, counts = [ReconstructionSums(width) for width in widths], CodeSums(codec.size)
    for batch in batches:
        inputs, targets = batch if isinstance(batch, tuple) else (batch, batch)
        for rows in (inputs, targets):
            check_finite(rows)
        inputs = plain(inputs)
        codes = codec.encode(inputs)
        rebuilt = codec.decode(codes, inputs)
        parts = plain(targets).split(list(widths), 1), rebuilt.split(list(widths), 1)
        for total, wanted, found in zip(sums, *parts, strict=True):
            total.add(wanted.cpu().numpy(), found.cpu().numpy())
        _count(counts, codes)
    reconstructions, statistics = [total.result() for total in sums], counts.result()
    if isinstance(statistics, Refusal):
        raise statistics
    measured: list[Reconstruction] = []
    for reconstruction in reconstructions:
        if isinstance(reconstruction, Refusal):
            raise reconstruction
        measured.append(reconstruction)
    quality = Quality(
        n_rows=statistics.n,
        fvu=sum(r.fvu for r in measured) / len(measured),
        l0=statistics.l0,
        dead=statistics.dead,
        dense=statistics.dense,
        variance=sum(total.target.variance for total in sums),
    )
    names = codec.targets if len(codec.targets) == len(measured) else ("all",)
    return Measured(quality, dict(zip(names, measured, strict=True)), statistics)


def check_finite(rows: Float[Tensor, "row width"]) -> None:
    """Stop at the first NaN or infinity.

    Raises:
        UserError: there is one; names row and column.
    """
    if not bool(rows.isfinite().all()):
        at = (~rows.isfinite()).nonzero()[0].tolist()
        raise UserError("a row is not finite", where=f"row {at[0]} of a batch, column {at[1]}", code="not_finite")


def plain(rows: Float[Tensor, "row width"]) -> Float[Tensor, "row width"]:
    """Rows as NumPy can hold them: it has no bfloat16, and a codec computes in its own type anyway."""
    return rows.float() if rows.dtype.itemsize < torch.float32.itemsize else rows


def _count(counts: CodeSums, codes: Codes) -> None:
    size = codes.values.new_zeros(codes.n_rows, dtype=torch.float64)
    size.index_add_(0, codes.rows, codes.values.double().abs())
    fired = torch.bincount(codes.indices, minlength=codes.size)
    counts.add(codes.active.cpu().numpy(), size.cpu().numpy(), fired.cpu().numpy())
