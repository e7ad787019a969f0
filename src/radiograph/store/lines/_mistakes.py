"""What is wrong with a file, line by line: the first five mistakes are shown, the others counted."""

from __future__ import annotations

import heapq

from radiograph.core import FormatError, visible

SHOWN = 5
_CHARACTERS = 160


class Mistakes:
    """Collects mistakes of one file."""

    def __init__(self, name: str, *, lines: bool = True) -> None:
        """Without `lines` numbers only order mistakes: each text names its place itself."""
        self.name, self.lines = name, lines
        self.count = 0
        self._first: list[tuple[int, int, str]] = []

    def add(self, line: int, text: str) -> None:
        """Record a mistake; 0 stands for the file as a whole."""
        self.count += 1
        # Negated, so that the heap gives up the last of the five.
        heapq.heappush(self._first, (-line, -self.count, text))
        if len(self._first) > SHOWN:
            heapq.heappop(self._first)

    def raise_if_any(self) -> None:
        """Raise one error.

        Raises:
            FormatError: with the places and texts of the first five, in the order of the file.
        """
        if not self.count:
            return
        first = sorted((-line, -number, text) for line, number, text in self._first)
        shown = [
            f"{self.name}{f':{line}' if self.lines else ''}: {visible(text, _CHARACTERS)}" for line, _, text in first
        ]
        more = self.count - len(shown)
        raise FormatError(
            f"{self.count} mistake{'s' if self.count > 1 else ''} in {self.name}",
            where="\n    ".join([*shown, *([f"and {more} more"] if more else [])]),
            fix="mend them; nothing was written",
        )
