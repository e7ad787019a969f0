"""Every firing of some windows as sparse records: a line a counted token, an entry a component that fires there.

They say where a component is silent, which examples of others do not.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.decompose.statistics._spec import Texts
from radiograph.models import token_text
from radiograph.store.records import Entries, write_part

if TYPE_CHECKING:
    from radiograph.decompose.statistics._engine import _Seen  # pyright: ignore[reportPrivateUsage]


class Recorder:
    """The records of one shard."""

    def __init__(self, texts: Texts, tokenizer: Any) -> None:
        self.texts, self.tokenizer = texts, tokenizer
        self._held: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

    def add(self, seen: _Seen, fires: float) -> None:
        """Keep what recorded windows of a batch show."""
        for start, length in zip(seen.starts.tolist(), seen.lengths.tolist(), strict=True):
            window = int(seen.window[start])
            if not self.texts.recorded[window]:
                continue
            own = seen.importance[start : start + length][seen.counted[start : start + length]]
            at, component = np.nonzero(own > fires)
            self._held[window] = at, component, own[at, component]

    def write(self, folder: Path, number: int, first: int, last: int, sha256: str) -> None:
        """Commit the records of windows `first` to `last`."""
        import polars as pl

        before = np.concatenate([[0], np.cumsum(_counts(self.texts) * self.texts.recorded)])
        frames: list[Any] = []
        entries: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        for window in range(first, last):
            if not self.texts.recorded[window]:
                continue
            at, component, value = self._held[window]
            frames.append(self._rows(window, int(before[window])))
            entries.append((np.bincount(at, minlength=len(frames[-1])), component, value))
        rows = pl.concat(frames) if frames else self._empty()
        count = np.concatenate([np.zeros(0, np.int64), *(n for n, _, _ in entries)])
        written = Entries(
            np.concatenate([np.zeros(0, np.int64), *(c for _, c, _ in entries)]).astype(np.int64),
            np.concatenate([np.zeros(0, np.float32), *(v for _, _, v in entries)]).astype(np.float32),
            np.concatenate([[0], np.cumsum(count)]).astype(np.int64),
        )
        write_part(folder, number, rows, written, sha256)

    def _rows(self, window: int, first: int) -> Any:
        import polars as pl

        marks = self.texts.marks(window)
        at = np.flatnonzero(marks)
        ids = np.array(self.texts.row(window), np.int64)[at]
        pieces = [token_text(self.tokenizer, token) for token in ids.tolist()]
        size = np.array([len(piece) for piece in pieces], np.int64)
        ends = np.cumsum(size)
        # A place leaves out the space before a token: readers of records put it back.
        spaces = [piece.startswith(" ") for piece in pieces]
        bounds = [(int(e - s) + led, int(e)) for s, e, led in zip(size, ends, spaces, strict=True)]
        name = f"{self.texts.documents[window]}#{self.texts.parts[window]}"
        n = len(at)
        return pl.DataFrame(
            {
                "row": np.arange(first, first + n, dtype=np.uint32),
                "token": at.astype(np.int32),
                "prompt_id": [name] * n,
                "group_id": [self.texts.groups[window]] * n,
                "token_id": ids.astype(np.uint32),
                "text": pl.Series(["".join(pieces)] + [None] * (n - 1) if n else [], dtype=pl.String),
                "offsets": pl.Series(bounds, dtype=pl.List(pl.UInt32)),
            }
        )

    def _empty(self) -> Any:
        import polars as pl

        kinds: dict[str, Any] = {
            "row": pl.UInt32,
            "token": pl.Int32,
            "prompt_id": pl.String,
            "group_id": pl.String,
            "token_id": pl.UInt32,
            "text": pl.String,
            "offsets": pl.List(pl.UInt32),
        }
        return pl.DataFrame(schema=kinds)


def _counts(texts: Texts) -> np.ndarray:
    """Counted tokens of each window."""
    return np.add.reduceat(texts.counted.astype(np.int64), texts.starts) if len(texts) else np.zeros(0, np.int64)
