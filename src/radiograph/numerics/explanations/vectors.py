"""Do words about a vector hold the vector? The round trip vector → text → vector, beside texts of other vectors.

cosine      mean of x̂·x / (‖x̂‖‖x‖)
variance    1 − Σ‖x − s·x̂‖² / Σ‖x − x̄‖², s the one scale that fits best over all vectors: a reconstructor that knows
            directions alone is not blamed for lengths
shuffled    the same with texts exchanged between vectors, a fixed-point-free shift a draw: what any text gives
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Float
from radiograph.numerics._finite import finite


class RoundTrip(NamedTuple):
    """Over all vectors."""

    cosine: float
    variance: float
    shuffled_cosine: float
    shuffled_variance: float
    p: float
    """(1 + shifts with a mean cosine at least as large) / (1 + shifts)."""
    n: int


def round_trip(
    vectors: Float[np.ndarray, "vector width"], rebuilt: Float[np.ndarray, "vector width"], *, shifts: int = 199
) -> RoundTrip:
    """Compare vectors with what came back.

    Raises:
        UserError: fewer than three vectors, or a vector of length 0.
    """
    x = finite(vectors.astype(np.float64), "vectors")
    y = finite(rebuilt.astype(np.float64), "rebuilt vectors")
    lengths = [np.linalg.norm(table, axis=1) for table in (x, y)]
    if len(x) < 3 or min(length.min() for length in lengths) == 0:
        raise UserError("a round trip needs three vectors or more, none of length 0", got=f"{len(x)} vectors")
    cosines = (y / lengths[1][:, None]) @ (x / lengths[0][:, None]).T
    at = np.arange(len(x))
    used = range(1, min(shifts, len(x) - 1) + 1)
    others = np.array([cosines[np.roll(at, shift), at].mean() for shift in used])
    varied = [_variance(x, np.roll(y, shift, axis=0)) for shift in list(used)[:20]]
    own = float(cosines[at, at].mean())
    return RoundTrip(
        own,
        _variance(x, y),
        float(others.mean()),
        float(np.mean(varied)),
        float((1 + (others >= own).sum()) / (1 + len(others))),
        len(x),
    )


def _variance(x: Float[np.ndarray, "vector width"], y: Float[np.ndarray, "vector width"]) -> float:
    scale = float((x * y).sum() / np.square(y).sum())
    spread = float(np.square(x - x.mean(0)).sum())
    return 1 - float(np.square(x - scale * y).sum()) / spread if spread > 0 else float("nan")
