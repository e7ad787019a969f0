"""Numbers that travel with their n, interval and null."""

from __future__ import annotations

from typing import Literal

from radiograph.evidence._record import Record

DetectorStatus = Literal["measured", "not_measured"]


class Estimate(Record):
    """A number, its interval, what it counts and what it is compared with."""

    value: float
    low: float | None = None
    high: float | None = None
    n: int
    unit: str = ""
    level: float = 0.95
    method: str = ""
    """How the interval was made."""
    null: float | None = None
    """What the number would be if nothing had changed, or under the stated control."""


class DetectorScore(Record):
    """One detector's answer. Without a measurement there is a reason and no number."""

    id: str
    version: int
    status: DetectorStatus
    score: Estimate | None = None
    reason: str | None = None
    unit: str = ""
    tier: int
    """0 weights · 1 black box · 2 activations · 3 features · 4 search · 5 rows."""
    p: float | None = None
    """Conformal p among benign models; None without a calibration."""
    p_stratum: float | None = None
    """The same among those that drifted about as far."""
    rank: int | None = None
    """1 for the largest score of the pool."""
    tokens: int = 0
    """Forward tokens that the measurement cost."""
    text: str = ""
    """What the score is, in one line."""
