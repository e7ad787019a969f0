"""What a run says of itself: one row a logged step, and how fast it goes."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

WINDOW_SECONDS: Final = 60.0
SAID_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class LogRow:
    """A logged step. No clock time: the same run gives the same rows."""

    step: int
    rows: int
    loss: float
    """R on the batch: the share of the variance that is missed."""
    sparsity: float
    auxiliary: float
    gate: float
    l0: float
    """Mean active features on the batch."""
    dead: int
    """Features silent in training for longer than the patience."""
    threshold: float
    """batchtopk: running mean of the bound; jumprelu: mean θ. In the scale of training. 0 elsewhere."""
    learning_rate: float
    gradient_norm: float
    fvu: float | None = None
    """On validation rows, as `validation_l0` and `validation_dead`; None between validations."""
    validation_l0: float | None = None
    validation_dead: int | None = None


def columns(log: tuple[LogRow, ...]) -> dict[str, list[Any]]:
    """The log as a table."""
    rows = [asdict(row) for row in log]
    return {field.name: [row[field.name] for row in rows] for field in fields(LogRow)}


class Pace:
    """Rows a second over the last minute, and what that means for the rest."""

    def __init__(self, rows: int) -> None:
        self._left = rows
        self._seen: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])
        self._total = 0
        self._said = time.monotonic()

    def add(self, rows: int) -> None:
        """Rows that were just trained on."""
        now = time.monotonic()
        self._left -= rows
        self._total += rows
        self._seen.append((now, self._total))
        while now - self._seen[0][0] > WINDOW_SECONDS and len(self._seen) > 2:
            self._seen.popleft()

    @property
    def rate(self) -> float:
        """Rows a second."""
        (began, first), (now, last) = self._seen[0], self._seen[-1]
        return (last - first) / (now - began) if now > began else 0.0

    @property
    def due(self) -> bool:
        """Whether a line should be said again, to those who see no bar."""
        now = time.monotonic()
        if now - self._said < SAID_SECONDS:
            return False
        self._said = now
        return True

    def text(self) -> str:
        """Rate and estimated time left."""
        if not self.rate:
            return ""
        seconds = self._left / self.rate
        left = (
            f"{seconds:.0f} s"
            if seconds < 100
            else f"{seconds / 60:.0f} min"
            if seconds < 6000
            else f"{seconds / 3600:.1f} h"
        )
        return f"{self.rate:,.0f} rows/s · {left} left"
