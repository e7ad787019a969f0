"""Batches of rows in an order that depends on (seed, epoch) and the layout of the shards alone.

A row's id is its shard's number in the upper half of 64 bits and its place in the shard in the lower.
Training rows:
1. the shards are permuted by (seed, epoch); eight of them stand open at a time, and rows come from each in turn, a
   stretch of consecutive ones at a time
2. their ids fill a buffer; a batch leaves it uniformly without replacement, and the next ids take the free places
3. when no ids are left the buffer is drained: every row of the split comes once an epoch
Validation rows come in stored order. Only ids are shuffled; the rows of a batch are gathered from the mapped shards by
a thread that is two batches ahead. A further thread hashes a shard, or asks the disk for its tensors, before its first
row is due.

Rank r of n takes every n-th batch of the same sequence; `disjoint` deals whole shards to the ranks instead. `state` is
a few numbers and the ids that are under way: restored, the next batch is bit-equal.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from radiograph.core import UserError, derive
from radiograph.core.shapes import Int

if TYPE_CHECKING:
    from torch import Tensor

    from radiograph.store.shards._activations import Activations, Split

LANES = 8
STRETCH = 1_024
"""Consecutive rows that are taken from one open shard in turn."""
AHEAD = 2
SKIPPED = 1 << 20
"""Ids that are passed over at once on the way to where a reader stood."""
SHARD_BITS = 32
PLACE = (1 << SHARD_BITS) - 1


@dataclass(frozen=True, slots=True)
class Order:
    """What decides the order of rows."""

    split: Split
    batch: int
    seed: int = 0
    buffer: int = 262_144
    rank: int = 0
    world: int = 1
    disjoint: bool = False
    endless: bool = False

    def __post_init__(self) -> None:
        if self.batch < 1 or self.buffer < 1 or not 0 <= self.rank < self.world:
            got = f"batch {self.batch}, buffer {self.buffer}, rank {self.rank} of {self.world}"
            raise UserError("a reader needs batch and buffer of at least 1 and a rank below the world", got=got)


class Reader:
    """An iterator of batches: one tensor per source, rows aligned."""

    def __init__(self, activations: Activations, sources: Sequence[str], order: Order, epoch: int = 0) -> None:
        self._activations, self._names, self._order = activations, tuple(sources), order
        self._plan = _Plan(activations, self._names, order, epoch)
        self._pending: deque[tuple[NDArray[np.int64], Future[tuple[Tensor, ...]]]] = deque()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="radiograph-reader")

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        return self

    def __next__(self) -> tuple[Tensor, ...]:
        while len(self._pending) <= AHEAD and (ids := self._plan.next()) is not None:
            self._schedule(ids)
        if not self._pending:
            raise StopIteration
        return self._pending.popleft()[1].result()

    def state(self) -> dict[str, Any]:
        """Where the reader stands: plain numbers, and ids as bytes."""
        sizes = [len(ids) for ids, _ in self._pending]
        waiting = np.concatenate([np.empty(0, np.int64), *(ids for ids, _ in self._pending)])
        return {**self._plan.state(), "pending": waiting.tobytes(), "sizes": sizes}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken, with the same activations and order."""
        self._pending.clear()
        self._plan.restore(state)
        waiting = np.frombuffer(state["pending"], np.int64)
        for part in np.split(waiting, np.cumsum(state["sizes"])[:-1]) if state["sizes"] else []:
            self._schedule(part)

    def close(self) -> None:
        """Stop the thread."""
        self._pool.shutdown(cancel_futures=True)

    def _schedule(self, ids: NDArray[np.int64]) -> None:
        self._pending.append((ids, self._pool.submit(self._activations.gather, self._names, ids)))


class _Plan:
    """The ids of one batch after the other."""

    def __init__(self, activations: Activations, names: tuple[str, ...], order: Order, epoch: int) -> None:
        self.activations, self.names, self.order = activations, names, order
        self.number = 0
        self._begin(epoch)

    def next(self) -> NDArray[np.int64] | None:
        """Ids of this rank's next batch; None after the last."""
        order = self.order
        while True:
            ids = self._batch()
            if not len(ids):
                return None
            number, self.number = self.number, self.number + 1
            if order.disjoint or number % order.world == order.rank:
                return ids

    def state(self) -> dict[str, Any]:
        """Plain numbers and the ids in the buffer."""
        numbers = {"epoch": self.epoch, "draw": self.draw, "taken": self.taken, "number": self.number}
        return {**numbers, "buffer": self.buffer.tobytes()}

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        self._begin(int(state["epoch"]), skip=int(state["taken"]))
        self.draw, self.number = int(state["draw"]), int(state["number"])
        self.buffer = np.frombuffer(state["buffer"], np.int64).copy()

    def _begin(self, epoch: int, skip: int = 0) -> None:
        self.epoch, self.draw, self.taken = epoch, 0, 0
        self.buffer = np.empty(0, np.int64)
        self.incoming = self._stream()
        self.rest = np.empty(0, np.int64)
        while self.taken < skip and len(self._take(min(skip - self.taken, SKIPPED))):
            pass

    def _batch(self) -> NDArray[np.int64]:
        """The next ids of the sequence that all ranks share; fewer at the end, none after it."""
        parts: list[NDArray[np.int64]] = []
        missing, barren = self.order.batch, 0
        while missing and barren < 2:
            part = self._draw(missing)
            parts.append(part)
            missing -= len(part)
            if missing:
                if not self.order.endless:
                    break
                barren = barren + 1 if not len(part) else 0
                self._begin(self.epoch + 1)
        return np.concatenate(parts)

    def _draw(self, count: int) -> NDArray[np.int64]:
        if self.order.split == "validation":
            return self._take(count)
        if len(self.buffer) < self.order.buffer:
            self.buffer = np.concatenate([self.buffer, self._take(self.order.buffer - len(self.buffer))])
        count = min(count, len(self.buffer))
        bits = np.random.Philox(key=self._key("draw"), counter=[0, 0, 0, self.draw])
        places = np.random.Generator(bits).choice(len(self.buffer), count, replace=False)
        self.draw += 1
        ids, fresh = self.buffer[places], self._take(count)
        self.buffer[places[: len(fresh)]] = fresh
        if len(fresh) < count:
            self.buffer = np.delete(self.buffer, places[len(fresh) :])
        return ids

    def _take(self, count: int) -> NDArray[np.int64]:
        """The next ids of the stream, fewer at its end."""
        parts = [self.rest[:count]]
        self.rest, missing = self.rest[count:], count - len(parts[0])
        while missing and (stretch := next(self.incoming, None)) is not None:
            parts.append(stretch[:missing])
            self.rest, missing = stretch[missing:], missing - len(parts[-1])
        found = np.concatenate(parts)
        self.taken += len(found)
        return found

    def _stream(self) -> Iterator[NDArray[np.int64]]:
        shards = range(self.activations.index.shards)
        if self.order.split == "train":
            shards = np.random.Generator(np.random.Philox(key=self._key("shards"))).permutation(len(shards)).tolist()
        if self.order.disjoint:
            shards = shards[self.order.rank :: self.order.world]
        waiting = deque(shards)
        lanes: deque[NDArray[np.int64]] = deque()
        open_at_once = LANES if self.order.split == "train" else 1
        while waiting or lanes:
            while waiting and len(lanes) < open_at_once:
                lanes.append(self._ids(waiting.popleft()))
                if waiting:
                    self.activations.will_read(waiting[0], self.names)
            ids = lanes.popleft()
            yield ids[:STRETCH]
            if len(ids) > STRETCH:
                lanes.append(ids[STRETCH:])

    def _ids(self, shard: int) -> Int[np.ndarray, " row"]:
        rows = self.activations.shard_rows(shard, self.order.split)
        return (np.int64(shard) << SHARD_BITS) | rows

    def _key(self, purpose: str) -> int:
        return derive(self.order.seed, "reader", self.epoch, purpose)


def by_shard(ids: NDArray[np.int64]) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
    """Shard, places in the batch and rows in the shard, for every shard that a batch touches."""
    shards = ids >> SHARD_BITS
    order = np.argsort(shards, kind="stable")
    bounds = np.flatnonzero(np.diff(shards[order], prepend=-1))
    for part in np.split(order, bounds[1:]):
        if len(part):
            yield int(shards[part[0]]), part, ids[part] & PLACE
