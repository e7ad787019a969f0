"""How good a dictionary is on given rows. The arithmetic and its definitions are those of `numerics.reconstruction`.

1. encode and decode batch by batch   2. one FVU for the whole set, sums in float64   3. L0, density, dead and dense
features, over the rows given and no others (padding and specials are left out by whoever made the rows)
Batch size and order change nothing. What splicing the reconstruction costs the model is measured by `interventions`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from radiograph.core import Refusal, UserError
from radiograph.core.codec import Codec, Codes
from radiograph.dictionaries._metadata import Quality
from radiograph.numerics.reconstruction import CodeStatistics, CodeSums, Reconstruction, ReconstructionSums


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """The numbers that a dictionary carries with it, and the fuller ones behind them."""

    quality: Quality
    reconstruction: Reconstruction
    codes: CodeStatistics


def evaluate(codec: Codec, batches: Iterable[Float[Tensor, "row width"]]) -> Quality:
    """Quality on all rows of the batches together. See `measure`."""
    return measure(codec, batches).quality


def measure(codec: Codec, batches: Iterable[Float[Tensor, "row width"]]) -> Measured:
    """Quality, reconstruction and code statistics on all rows of the batches together.

    Raises:
        UserError: a value that is not finite.
        Refusal: `no_rows`, or `no_variance` where FVU has no denominator.
    """
    sums, counts = ReconstructionSums(codec.width), CodeSums(codec.size)
    for rows in batches:
        if not bool(rows.isfinite().all()):
            at = (~rows.isfinite()).nonzero()[0].tolist()
            raise UserError("a row is not finite", where=f"row {at[0]} of a batch, column {at[1]}", code="not_finite")
        # NumPy has no bfloat16, and a codec computes in its own type anyway.
        rows = rows.float() if rows.dtype.itemsize < 4 else rows
        codes = codec.encode(rows)
        sums.add(rows.cpu().numpy(), codec.decode(codes).cpu().numpy())
        _count(counts, codes)
    reconstruction, statistics = sums.result(), counts.result()
    if isinstance(statistics, Refusal):
        raise statistics
    if isinstance(reconstruction, Refusal):
        raise reconstruction
    quality = Quality(
        n_rows=reconstruction.n,
        fvu=reconstruction.fvu,
        l0=statistics.l0,
        dead=statistics.dead,
        dense=statistics.dense,
        variance=sums.target.variance,
    )
    return Measured(quality, reconstruction, statistics)


def _count(counts: CodeSums, codes: Codes) -> None:
    size = codes.values.new_zeros(codes.n_rows, dtype=torch.float64)
    size.index_add_(0, codes.rows, codes.values.double().abs())
    fired = torch.bincount(codes.indices, minlength=codes.size)
    counts.add(codes.active.cpu().numpy(), size.cpu().numpy(), fired.cpu().numpy())
