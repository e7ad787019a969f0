"""How a source of features is written: `KIND[:WHERE][#650,700-720]`.

What stands before the first colon is the kind; numbers after the last `#` choose features; the rest is the kind's own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from radiograph.core import UserError

_CHOICE = re.compile(r"\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*")
MOST = 10_000_000
"""Numbers that a choice may spell out."""


@dataclass(frozen=True)
class Reference:
    """A source as it was written."""

    text: str
    kind: str
    where: str
    chosen: tuple[tuple[int, int], ...] = ()
    """First and last number of each range; empty: every feature."""

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read a source.

        Raises:
            UserError: numbers that cannot be read, or a range that falls.
        """
        body, mark, tail = text.strip().rpartition("#")
        if not mark:
            body, tail = tail, ""
        kind, _, where = body.partition(":")
        fits = bool(kind) and (not mark or _CHOICE.fullmatch(tail.replace(" ", "")) is not None)
        bounds = [part.split("-") for part in tail.replace(" ", "").split(",")] if fits and mark else []
        ranges = tuple((int(own[0]), int(own[-1])) for own in bounds)
        if not fits or any(last < first for first, last in ranges) or sum(b - a + 1 for a, b in ranges) > MOST:
            raise UserError(
                f"{text!r} is no source of features",
                expected="KIND[:WHERE][#650,700-720]",
                got=f"#{tail}" if mark else None,
                code="bad_features",
            )
        return cls(text.strip(), kind, where, ranges)

    def named(self, where: str) -> str:
        """The source with another word for its place."""
        own = ",".join(str(a) if a == b else f"{a}-{b}" for a, b in self.chosen)
        return self.kind + (f":{where}" if where else "") + (f"#{own}" if own else "")

    @property
    def numbers(self) -> NDArray[np.int64] | None:
        """The numbers chosen, ascending and each once; None for every feature."""
        if not self.chosen:
            return None
        return np.unique(np.concatenate([np.arange(first, last + 1) for first, last in self.chosen]))

    def within(self, size: int) -> NDArray[np.int64]:
        """The numbers chosen among `size` features.

        Raises:
            UserError: one of them is not there.
        """
        numbers = self.numbers
        if numbers is None:
            return np.arange(size)
        if numbers[-1] >= size:
            raise UserError(
                f"{self.text!r} names feature {numbers[-1]}",
                expected=f"0 to {size - 1}",
                code="unknown_feature",
            )
        return numbers
