"""Bands of a signed score: harm gates, help passes, doubt is said.

1. below 5 % OK, below 20 % MINOR, from 20 % on MAJOR
2. -5 % or less with the whole interval below 0: HELPS, which is no harm however large
3. an interval on both sides of 20 %: INCONCLUSIVE. Without an interval the point decides
A score is rounded to 12 digits first: .96 against .80 is 20 %, whatever the last bit of the quotient.
"""

from __future__ import annotations

from radiograph.numerics.proportions import Interval

MINOR_FROM, MAJOR_FROM = 0.05, 0.2
DIGITS = 12


def band_of(score: float, interval: Interval | None = None) -> str:
    """The band of one score."""
    point = round(score, DIGITS)
    low, high = (point, point) if interval is None else (round(interval.low, DIGITS), round(interval.high, DIGITS))
    if point <= -MINOR_FROM and high < 0:
        return "HELPS"
    if low < MAJOR_FROM <= high:
        return "INCONCLUSIVE"
    if low >= MAJOR_FROM:
        return "MAJOR"
    return "OK" if point < MINOR_FROM else "MINOR"
