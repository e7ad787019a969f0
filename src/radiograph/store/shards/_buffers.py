"""Memory of batches that nobody holds any more, used again.

Fresh memory costs a page fault every 4 KiB, which takes longer than the copy that fills it. A tensor made from an array
holds the array, and so does every view of it: once only the list below holds it, no tensor on it is left.
"""

from __future__ import annotations

import sys
from threading import Lock

import numpy as np

from radiograph.core.shapes import UInt8

HELD_BY_LIST_ALONE = 3
"""References to an array that the loop below looks at: the list's, the loop's, and the argument's."""


class Buffers:
    """Arrays of bytes by size; any number of threads may take from them."""

    def __init__(self) -> None:
        self._arrays: list[UInt8[np.ndarray, " byte"]] = []
        self._lock = Lock()

    def take(self, size: int, keep: int) -> UInt8[np.ndarray, " byte"]:
        """An array that nobody holds, with anything in it; at most `keep` arrays are kept for later."""
        with self._lock:
            for array in self._arrays:
                if len(array) == size and sys.getrefcount(array) == HELD_BY_LIST_ALONE:
                    return array
            array = np.empty(size, np.uint8)
            self._arrays = [*self._arrays, array][-keep:]
            return array
