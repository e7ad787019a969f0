"""Sums of real numbers that are associative: whole multiples of 2^-bits in 64 bits.

Each term is rounded once, to the nearest multiple; after that addition is exact, so that terms may be added in any
order and by any number of workers. Overflow is an error, never a wrap. Error of a sum: at most 2^-(bits + 1) a term.
"""

from __future__ import annotations

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Float, Int64

_ROOM = 2.0**62
"""Below the largest 64-bit number, so that a sum of two terms in range never wraps unseen."""


def as_fixed(values: Float[np.ndarray, "..."], bits: int, what: str) -> Int64[np.ndarray, "..."]:
    """The nearest multiples of 2^-bits.

    Raises:
        UserError: a value that is not finite, or too large for the unit; names the first place.
    """
    scaled = np.ldexp(np.asarray(values, np.float64), bits)
    bad = ~(np.abs(scaled) < _ROOM)
    if bad.any():
        place = tuple(int(i) for i in np.argwhere(bad)[0])
        value = float(np.asarray(values)[place])
        raise _too_large(f"{what}{list(place)}", str(value), bits, finite=np.isfinite(value).item())
    return np.rint(scaled).astype(np.int64)


def added(total: Int64[np.ndarray, "..."], more: Int64[np.ndarray, "..."], what: str) -> Int64[np.ndarray, "..."]:
    """The sum of two.

    Raises:
        UserError: it does not fit.
    """
    with np.errstate(over="ignore"):
        found = total + more
    wrapped = ((total ^ found) & (more ^ found)) < 0
    if wrapped.any():
        place = [int(i) for i in np.argwhere(wrapped)[0]]
        raise _too_large(f"{what}{place}", "a sum of more than 63 bits", None, finite=True)
    return found


def as_real(sums: Int64[np.ndarray, "..."], bits: int) -> Float[np.ndarray, "..."]:
    """Sums as numbers."""
    return np.ldexp(sums.astype(np.float64), -bits)


def _too_large(where: str, got: str, bits: int | None, *, finite: bool) -> UserError:
    if not finite:
        return UserError("a sum is not finite", where=where, got=got, code="not_finite")
    unit = "" if bits is None else f" in units of 2^-{bits}"
    return UserError(
        f"a sum does not fit into 64 bits{unit}",
        where=where,
        got=got,
        fix="count fewer tokens in one run",
        code="overflow",
    )
