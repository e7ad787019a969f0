"""How much of a sequence repeats itself, at any period.

1. lag p, 1 ≤ p ≤ T/2: R_p = longest run of y_t = y_{t−p}. If R_p ≥ p the loop covers (R_p + p)/T
2. loop share ℓ = the largest coverage; of equal ones the smallest period. Onset: where its first period begins
3. tail loop: the same for runs that reach the end
4. soft loop: +1 a match, −4 a mismatch, best segment per lag (at least 80 % equal); covers (L + p)/T if L ≥ p
All lags at once, in blocks that stay small in memory. Units: shares of T in [0, 1], places in elements.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from radiograph.core.shapes import Bool, Int

_CELLS = 2**20
MISMATCH = -4


@dataclass(frozen=True, slots=True)
class Loop:
    """The largest loop of a sequence; period 0 where there is none."""

    share: float = 0.0
    period: int = 0
    onset: int = 0


@dataclass(frozen=True, slots=True)
class Loops:
    """Exact, at the end, and with errors."""

    exact: Loop = Loop()
    tail: Loop = Loop()
    soft: Loop = Loop()


def loops(codes: Int[np.ndarray, " place"], soft: Int[np.ndarray, " place"] | None = None) -> Loops:
    """Loops of a sequence of codes; `soft` are codes for the soft loop alone, as where digits are one symbol."""
    n = len(codes)
    found = Loops()
    if n < 2:
        return found
    own, alike = _small(codes), codes is soft or soft is None
    other = own if alike or soft is None else _small(soft)
    step = max(1, _CELLS // n)
    for low in range(1, n // 2 + 1, step):
        lags = np.arange(low, min(low + step, n // 2 + 1))
        equal = _equal(own, lags)
        longest, ends, last = _runs(equal)
        best, starts = _segments(equal if alike else _equal(other, lags))
        found = Loops(
            exact=_larger(found.exact, lags, longest, ends - longest + 1, n),
            tail=_larger(found.tail, lags, last, n - last, n),
            soft=_larger(found.soft, lags, best, starts, n),
        )
    return found


def _small(codes: np.ndarray) -> Int[np.ndarray, " place"]:
    return np.unique(codes, return_inverse=True)[1].astype(np.int32)


def _equal(codes: np.ndarray, lags: np.ndarray) -> Bool[np.ndarray, "lag place"]:
    """Whether y_t = y_{t−p}; before p False."""
    padded = np.concatenate([np.full(int(lags[-1]), -1, codes.dtype), codes])
    windows = np.lib.stride_tricks.sliding_window_view(padded, len(codes))
    return windows[int(lags[-1]) - lags] == codes


def _runs(equal: Bool[np.ndarray, "lag place"]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Longest run of each lag, where it ends, and the run at the end of the sequence."""
    places = np.arange(1, equal.shape[1] + 1, dtype=np.int32)
    run = places - np.maximum.accumulate(np.where(equal, 0, places), axis=1)
    ends = run.argmax(1)
    return run[np.arange(len(run)), ends], ends, run[:, -1]


def _segments(equal: Bool[np.ndarray, "lag place"]) -> tuple[np.ndarray, np.ndarray]:
    """Length of the best-scoring segment of each lag, and where it begins."""
    score = np.cumsum(np.where(equal, 1, MISMATCH), axis=1, dtype=np.int32)
    score = np.concatenate([np.zeros((len(equal), 1), np.int32), score], axis=1)
    lowest = np.minimum.accumulate(score, axis=1)
    rise = score - lowest
    ends = rise.argmax(1)
    rows = np.arange(len(rise))
    # Of equal minima the first: a segment of sum zero in front costs nothing and is part of the loop.
    starts = (score == lowest[rows, ends][:, None]).argmax(1)
    return ends - starts, starts


def _larger(known: Loop, lags: np.ndarray, length: np.ndarray, starts: np.ndarray, n: int) -> Loop:
    covered = np.where(length >= lags, length + lags, 0)
    best = int(covered.argmax())
    share = float(covered[best] / n)
    if share <= known.share:
        return known
    return Loop(min(share, 1.0), int(lags[best]), max(0, int(starts[best] - lags[best])))
