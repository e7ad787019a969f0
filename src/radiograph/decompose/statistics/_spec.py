"""What a worker has to know to count one shard: plain data that travels to another process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from radiograph.core.shapes import Bool, Int64, UInt32
from radiograph.numerics.cofiring import keys, text_keys
from radiograph.store.components import read_arrays, write_arrays

TEXTS = "texts.npz"


@dataclass(frozen=True, eq=False)
class Texts:
    """Windows of text as the model is fed, one after the other. A window holds one document."""

    tokens: UInt32[np.ndarray, " token"]
    counted: Bool[np.ndarray, " token"]
    """Whether a token is counted; special ones are fed and not counted."""
    starts: Int64[np.ndarray, " window"]
    lengths: Int64[np.ndarray, " window"]
    documents: tuple[str, ...]
    """Of each window."""
    groups: tuple[str, ...]
    parts: Int64[np.ndarray, " window"]
    """Number of each window in its document."""
    recorded: Bool[np.ndarray, " window"]
    """Whether every firing in it is kept as a record."""

    def __len__(self) -> int:
        return len(self.starts)

    def row(self, number: int) -> list[int]:
        """Token ids of a window."""
        first = int(self.starts[number])
        return self.tokens[first : first + int(self.lengths[number])].tolist()

    def marks(self, number: int) -> Bool[np.ndarray, " token"]:
        """Which of them are counted."""
        first = int(self.starts[number])
        return self.counted[first : first + int(self.lengths[number])]

    def bounds(self, shard_tokens: int) -> Int64[np.ndarray, " bound"]:
        """First window of each shard, and at the end the number of windows: as many as fit, at least one."""
        ends = np.cumsum(self.lengths)
        found, start, before = [0], 0, 0
        while start < len(ends):
            start = max(int(np.searchsorted(ends, before + shard_tokens, side="right")), start + 1)
            before = int(ends[start - 1])
            found.append(start)
        return np.array(found, np.int64)

    def save(self, folder: Path) -> None:
        """Leave it for workers."""
        arrays = {
            name: np.ascontiguousarray(getattr(self, name))
            for name in ("tokens", "counted", "starts", "lengths", "parts", "recorded")
        }
        facts = {"documents": list(self.documents), "groups": list(self.groups)}
        write_arrays(folder / TEXTS, arrays, facts)

    @classmethod
    def open(cls, folder: Path) -> Texts:
        """What another process saved."""
        arrays, facts = read_arrays(folder / TEXTS)
        return cls(documents=tuple(facts["documents"]), groups=tuple(facts["groups"]), **arrays)


@dataclass(frozen=True, slots=True)
class Spec:
    """A harvest. `facts` decide its bytes; the other fields only say where and how."""

    model: str
    """Folder of the model."""
    decomposition: str
    """Folder of the decomposition."""
    home: Path
    """Where parts are committed."""
    stated: tuple[tuple[str, Any], ...]
    """`model`, `decomposition` and `texts` by hash; `fires`, `seed`, `examples`, `around`, `shard_tokens` and
    `batch_tokens`."""
    sha256: str
    """Of these facts."""
    records: Path | None = None
    device: str = "cpu"

    @property
    def facts(self) -> dict[str, Any]:
        """What decides the bytes, by name."""
        return dict(self.stated)


def recorded_windows(
    seed: int,
    documents: tuple[str, ...],
    parts: Int64[np.ndarray, " window"],
    counts: Int64[np.ndarray, " window"],
    budget: int,
) -> Bool[np.ndarray, " window"]:
    """Windows with the smallest keyed hashes, as many as a budget of counted tokens pays for: at least one."""
    where = text_keys(seed, "records", documents)
    key = keys(np.zeros(len(documents), np.uint64), where, parts)
    order = np.lexsort((np.arange(len(key)), key))
    paid = np.cumsum(counts[order]) <= budget
    if len(paid):
        paid[0] = budget > 0
    found = np.zeros(len(key), bool)
    found[order[paid]] = True
    return found
