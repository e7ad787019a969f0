"""One rule for numbers that are not numbers: they stop the run and name their place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Float64


def finite(values: np.ndarray | Sequence[float] | float, what: str) -> Float64[np.ndarray, "..."]:
    """`values` as float64, any shape.

    Raises:
        UserError: a value is NaN or infinite; `where` is its index.
    """
    array = np.asarray(values, dtype=np.float64)
    bad = ~np.isfinite(array)
    if bad.any():
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        raise UserError(
            f"{what} holds a value that is not finite",
            expected="finite numbers",
            got=f"{array[place]} ({int(bad.sum())} of {array.size} values)",
            where=f"{what}{list(place)}",
            code="not_finite",
        )
    return array
