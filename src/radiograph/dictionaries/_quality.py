"""How good a dictionary is on given rows.

1. encode and decode batch by batch   2. FVU = Σ‖x − x̂‖² / Σ‖x − x̄‖², one ratio for the whole set, sums in float64
3. L0 = mean active features per row; density = share of rows on which a feature fires; dead: fired on none of the n
rows (density below 3 / n with 95 % confidence); dense: density above 0.1.
Batch size and order change nothing. Averages of per-batch ratios are other quantities and are not reported here.
Refuses rows without variance: FVU has no denominator. What splicing costs is measured by `interventions`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite
from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from radiograph.core import UserError
from radiograph.core.codec import Codec
from radiograph.dictionaries._metadata import Quality
from radiograph.numerics.moments import Moments

DENSE: Final = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Quality, with the counts behind it."""

    quality: Quality
    fired: Int[Tensor, " feature"]
    """Rows on which each feature fired."""

    @property
    def density(self) -> Float[Tensor, " feature"]:
        """Share of the rows on which each feature fired."""
        return self.fired.double() / self.quality.n_rows


def evaluate(codec: Codec, batches: Iterable[Float[Tensor, "row width"]]) -> Quality:
    """Quality on all rows of the batches together. See `measure`."""
    return measure(codec, batches).quality


def measure(codec: Codec, batches: Iterable[Float[Tensor, "row width"]]) -> Measured:
    """Quality and per-feature counts on all rows of the batches together.

    Raises:
        UserError: no rows, rows that do not vary, or a value that is not finite.
    """
    spread = Moments(codec.width)
    error, active = 0.0, 0
    fired = torch.zeros(codec.size, dtype=torch.long)
    for rows in batches:
        rows = rows.float() if rows.dtype.itemsize < 4 else rows
        codes = codec.encode(rows)
        error += float((rows - codec.decode(codes)).double().square().sum())
        if not isfinite(error):
            raise UserError("rows or reconstructions are not finite", got=f"squared error {error}", code="not_finite")
        active += len(codes.indices)
        fired += torch.bincount(codes.indices.cpu(), minlength=codec.size)
        spread.add(rows.cpu().numpy())
    if not spread.total > 0:
        raise UserError("rows that do not vary have no FVU", got=f"{spread.count} rows, variance {spread.total:g}")
    n = spread.count
    quality = Quality(
        n_rows=n,
        fvu=error / spread.total,
        l0=active / n,
        dead=int((fired == 0).sum()),
        dense=int((fired > DENSE * n).sum()),
        variance=spread.total / n,
    )
    return Measured(quality, fired)
