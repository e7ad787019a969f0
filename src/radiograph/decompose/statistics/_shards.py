"""Shards counted by any number of workers, and added up as they come.

1. a shard commits as one file; a worker that is killed costs the shard that it was at   2. files are added to a total,
which is committed with the list of what it holds before they go; in memory are the total and one array of one part
3. what is found of an earlier run of equal facts is kept; what belongs to another one is refused before
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch

from radiograph.core import FormatError, Progress, UserError, Workers
from radiograph.store import write_whole
from radiograph.store.components import StoredArrays

FACTS = "facts.json"
TOTAL = "total.npz"
FOLD = 8
"""Parts that may lie on disk before they are added up."""


class Part(Protocol):
    """What shards leave, and what adds up."""

    shards: tuple[int, ...]

    def save(self, path: Path, sha256: str) -> None:
        """Commit."""
        ...


P = TypeVar("P", bound=Part)


class Merged(Generic[P]):
    """A total on disk and in memory."""

    def __init__(
        self,
        home: Path,
        sha256: str,
        empty: Callable[[], P],
        load: Callable[[Path], P],
        add: Callable[[P, Path], None],
    ) -> None:
        """Whatever an earlier run committed is found."""
        self.home, self.sha256, self._add = home, sha256, add
        self.total = empty()
        if (home / TOTAL).is_file():
            self.total = load(self._own(home / TOTAL))
        for path in home.glob("*.partial"):
            path.unlink()

    @property
    def committed(self) -> set[int]:
        """Shards that need not be counted again."""
        return {*self.total.shards, *(int(path.stem) for path in self._parts())}

    def fold(self, *, last: bool = False) -> None:
        """Add parts to the total if there are many of them, or at the end; the total is committed before they go."""
        parts = self._parts()
        if not parts or not (last or len(parts) >= FOLD):
            return
        for path in parts:
            if int(path.stem) not in self.total.shards:
                self._add(self.total, self._own(path))
        if not last:
            self.total.save(self.home / TOTAL, self.sha256)
            for path in parts:
                path.unlink()

    def _parts(self) -> list[Path]:
        return sorted(self.home.glob("[0-9]*.npz"))

    def _own(self, path: Path) -> Path:
        with StoredArrays(path) as held:
            found = held.facts.get("spec")
        if found != self.sha256:
            raise FormatError("a part of another run", where=path.name, expected=self.sha256, got=str(found))
        return path


def fold(
    merged: Merged[P],
    make: Callable[[int], int],
    worker: Callable[[int], int],
    shards: int,
    workers: Workers,
    progress: Progress,
    what: str,
    tokens: Sequence[int],
) -> P:
    """Count the missing shards and add all up.

    Args:
        merged: what is there.
        make: counts and commits one shard in this process.
        worker: does the same in another one; travels there.
        shards: how many there are.
        workers: how many and where.
        progress: is told of tokens.
        what: for progress.
        tokens: of each shard.
    """
    missing = sorted(set(range(shards)) - merged.committed)
    with progress.task(what, sum(tokens)) as task:
        task.advance(float(sum(tokens) - sum(tokens[n] for n in missing)))
        for number in _made(make, worker, missing, workers):
            task.advance(tokens[number])
            merged.fold()
        merged.fold(last=True)
    return merged.total


def _made(
    make: Callable[[int], int], worker: Callable[[int], int], missing: Sequence[int], workers: Workers
) -> Iterator[int]:
    if workers.ray:
        from radiograph.core.work.cluster import dealt

        yield from (missing[place] for place, _ in dealt(worker, missing, workers))
    elif workers.count > 1 and len(missing) > 1:
        from radiograph.core.work.process import deal

        yield from (missing[place] for place, _ in deal(worker, missing, workers.count))
    else:
        for number in missing:
            make(number)
            yield number


def begin(home: Path, facts: Mapping[str, Any]) -> None:
    """Begin, or go on: what an unfinished run was asked for has to be the same.

    Raises:
        UserError: names the first fact that differs.
    """
    path = home / FACTS
    if path.is_file():
        try:
            stored = dict(json.loads(path.read_bytes()))
        except ValueError as error:
            fix = "start without --resume"
            raise FormatError("the unfinished run is damaged", where=path.name, got=str(error), fix=fix) from error
        now = json.loads(json.dumps(dict(facts)))
        for name in {**stored, **now}:
            if stored.get(name) != now.get(name):
                raise UserError(
                    f"the unfinished run was another one: {name} differs",
                    expected=str(stored.get(name)),
                    got=str(now.get(name)),
                    fix="resume with the model, data and options of that run, or start without --resume",
                    code="another_run",
                )
    data = json.dumps(dict(facts), sort_keys=True).encode()
    write_whole(path, (data,), len(data))


def part_of(home: Path, number: int) -> Path:
    """Where a shard is committed."""
    return home / f"{number:05d}.npz"


@contextmanager
def single_thread() -> Iterator[None]:
    """One thread, as long as it lasts."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
