"""The places where each unit is strongest: k largest positive values with the text and position of each.

Larger values first; equal ones by text, then position. A merge of parts in any order gives the same places.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from radiograph.core.shapes import Float32, Int64


@dataclass(eq=False, slots=True)
class Contexts:
    """Places per unit; `text` is −1 where a unit was positive less than k times."""

    width: int
    k: int = 5
    value: Float32[np.ndarray, "width k"] = field(init=False)
    text: Int64[np.ndarray, "width k"] = field(init=False)
    position: Int64[np.ndarray, "width k"] = field(init=False)

    def __post_init__(self) -> None:
        self.value = np.zeros((self.width, self.k), np.float32)
        self.text = np.full((self.width, self.k), -1, np.int64)
        self.position = np.full((self.width, self.k), -1, np.int64)

    def add(
        self,
        rows: Float32[np.ndarray, "row width"],
        text: Int64[np.ndarray, " row"],
        position: Int64[np.ndarray, " row"],
    ) -> None:
        """Look at rows, each a token of a text."""
        bound = self.value[:, -1]
        if len(rows) > self.k and not bound.all():
            # Units whose list is not full would let every positive row through.
            open_ = np.flatnonzero(bound == 0)
            bound = bound.copy()
            bound[open_] = np.maximum(np.partition(rows[:, open_], len(rows) - self.k, axis=0)[len(rows) - self.k], 0)
        at, unit = np.nonzero((rows >= bound) & (rows > 0))
        self._take(unit, rows[at, unit], text[at], position[at])

    def merge(self, other: Contexts) -> None:
        """Take in the places of another one."""
        unit, at = np.nonzero(other.text >= 0)
        self._take(unit, other.value[unit, at], other.text[unit, at], other.position[unit, at])

    def _take(
        self,
        unit: Int64[np.ndarray, " found"],
        value: Float32[np.ndarray, " found"],
        text: Int64[np.ndarray, " found"],
        position: Int64[np.ndarray, " found"],
    ) -> None:
        touched = np.unique(unit)
        if not len(touched):
            return
        old, at = np.nonzero(self.text[touched] >= 0)
        held = touched[old]
        unit = np.concatenate([unit, held])
        value = np.concatenate([value, self.value[held, at]])
        text = np.concatenate([text, self.text[held, at]])
        position = np.concatenate([position, self.position[held, at]])
        order = np.lexsort((position, text, -value, unit))
        unit, value, text, position = unit[order], value[order], text[order], position[order]
        rank = np.arange(len(unit)) - np.searchsorted(unit, unit)
        kept = rank < self.k
        unit, rank = unit[kept], rank[kept]
        self.value[unit, rank], self.text[unit, rank], self.position[unit, rank] = (
            value[kept],
            text[kept],
            position[kept],
        )
