"""Text machines: one program per domain, run forwards to sample and along a prefix to filter. Both are exact.

A program is a function of a `Run`. It emits tokens (`emit`: options with integer weights) and takes hidden turns
(`hidden`: integer weights, no token). What it does next depends only on what it has emitted and on its hidden turns.

1. *Sampling* (`Sample`): each choice is drawn with its weight from raw 64-bit words, a keyed BLAKE2b in counter mode.
2. *Filtering* (`trace`): the program is replayed along a given prefix once per path of hidden turns. At every position
   a replay adds its options, weighted by the joint probability of prefix and turns; normalised, their sum is the exact
   next-token distribution. What a path shares with the one it branched off is noted once. A path that cannot have
   emitted the prefix ends at the token that rules it out, so the number of live paths stays small.

Labels travel with tokens: those switched on by the program (`on`, `off`), those named at the emission, and, added
elsewhere, those that belong to the word itself. The draw `(word * total) >> 64` is biased by less than total / 2**64.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate
from typing import Protocol

Names = tuple[str, ...] | Callable[[str], tuple[str, ...]]
Program = Callable[["Run"], None]


class Options:
    """Tokens with positive integer weights, in a fixed order."""

    __slots__ = ("cumulative", "tokens", "total", "weights")

    def __init__(self, weights: Mapping[str, int]) -> None:
        self.weights = {token: weight for token, weight in weights.items() if weight > 0}
        assert self.weights, "a choice needs at least one option"
        self.tokens = tuple(self.weights)
        self.cumulative = list(accumulate(self.weights.values()))
        self.total = self.cumulative[-1]

    def at(self, number: int) -> str:
        """The token whose weight interval holds `number`, 0 <= number < total."""
        return self.tokens[bisect_right(self.cumulative, number)]


@lru_cache(maxsize=4096)
def one_of(tokens: tuple[str, ...]) -> Options:
    """Equal weights."""
    return Options(dict.fromkeys(tokens, 1))


class Run(Protocol):
    """What a program sees. `heldout` tells it which of its reserved patterns it may use."""

    heldout: bool

    def emit(self, options: Options | str, names: Names = ()) -> str:
        """Emit one token, given or chosen, and return it."""
        ...

    def hidden(self, weights: Sequence[int]) -> int:
        """Take a turn that leaves no token; returns its index."""
        ...

    def on(self, name: str) -> None:
        """Every token from here on carries the label."""
        ...

    def off(self, name: str) -> None:
        """No longer."""
        ...


class _Labels:
    """The labels that are switched on."""

    def __init__(self) -> None:
        self.active: frozenset[str] = frozenset()

    def on(self, name: str) -> None:
        self.active |= {name}

    def off(self, name: str) -> None:
        self.active -= {name}

    def of(self, token: str, names: Names) -> frozenset[str]:
        named = names(token) if callable(names) else names
        return self.active.union(named) if named else self.active


class Sample(_Labels):
    """One document drawn from a key. Equal keys give equal documents on every machine and version."""

    def __init__(self, key: str, *, heldout: bool) -> None:
        super().__init__()
        self.heldout = heldout
        self.tokens: list[str] = []
        self.labels: list[frozenset[str]] = []
        self._key = hashlib.blake2b(key.encode(), digest_size=32).digest()
        self._counter = 0
        self._words: list[int] = []

    def _below(self, total: int) -> int:
        if not self._words:
            block = hashlib.blake2b(self._counter.to_bytes(8, "little"), key=self._key).digest()
            self._words = [int.from_bytes(block[i : i + 8], "little") for i in range(0, 64, 8)]
            self._counter += 1
        return (self._words.pop() * total) >> 64

    def emit(self, options: Options | str, names: Names = ()) -> str:
        token = options if isinstance(options, str) else options.at(self._below(options.total))
        self.tokens.append(token)
        self.labels.append(self.of(token, names))
        return token

    def hidden(self, weights: Sequence[int]) -> int:
        cumulative = list(accumulate(weights))
        return bisect_right(cumulative, self._below(cumulative[-1]))


class _Stop(Exception):
    """The prefix is used up, or has ruled the path out: control flow inside `trace`, never an error."""


@dataclass(slots=True)
class Position:
    """What may stand at one place, as masses: divided by `total` they are exact probabilities given all before."""

    weights: dict[str, float] = field(default_factory=dict)
    labelled: dict[str, float] = field(default_factory=dict)
    """Mass of the tokens that carry each contextual label."""
    total: float = 0.0

    def add(self, mass: float, options: Options, active: frozenset[str], names: Names) -> None:
        """Add the options of one path, whose joint probability with the prefix is `mass`."""
        self.total += mass
        for token, weight in options.weights.items():
            share = mass * weight / options.total
            self.weights[token] = self.weights.get(token, 0.0) + share
            named = names(token) if callable(names) else names
            for name in active.union(named) if named else active:
                self.labelled[name] = self.labelled.get(name, 0.0) + share


class _Replay(_Labels):
    """One path of hidden turns along a prefix. What lies before `fresh` was noted by the path it branched off."""

    def __init__(self, filtering: _Filter, path: tuple[int, ...], fresh: int) -> None:
        super().__init__()
        self.heldout = filtering.heldout
        self._filter = filtering
        self._path = path
        self._fresh = fresh
        self._turns = 0
        self._place = 0
        self._mass = 1.0

    def emit(self, options: Options | str, names: Names = ()) -> str:
        if isinstance(options, str):
            options = one_of((options,))
        place, filtering = self._place, self._filter
        if place >= self._fresh and place >= filtering.start:
            filtering.positions[place - filtering.start].add(self._mass, options, self.active, names)
        if place == len(filtering.prefix):
            raise _Stop
        token = filtering.prefix[place]
        weight = options.weights.get(token)
        if weight is None:
            raise _Stop
        self._mass *= weight / options.total
        if place >= self._fresh:
            filtering.reached[place] += self._mass
        self._place += 1
        return token

    def hidden(self, weights: Sequence[int]) -> int:
        if self._turns < len(self._path):
            turn = self._path[self._turns]
        else:
            live = [i for i, weight in enumerate(weights) if weight > 0]
            turn = live[0]
            self._filter.open += [((*self._path, i), self._place) for i in live[1:]]
            self._path = (*self._path, turn)
        self._turns += 1
        self._mass *= weights[turn] / sum(weights)
        return turn


class _Filter:
    """All paths of a program along a prefix: masses of prefixes (`reached`) and, from `start` on, of continuations."""

    def __init__(self, program: Program, prefix: Sequence[str], *, heldout: bool, start: int) -> None:
        self.prefix = prefix
        self.heldout = heldout
        self.start = start
        self.reached = [0.0] * len(prefix)
        self.positions = [Position() for _ in range(len(prefix) + 1 - start)]
        self.open: list[tuple[tuple[int, ...], int]] = [((), 0)]
        while self.open:
            with suppress(_Stop):
                program(_Replay(self, *self.open.pop()))


def trace(program: Program, prefix: Sequence[str], *, heldout: bool, start: int = 0) -> list[Position]:
    """The exact distribution at positions `start` to len(prefix), the last one being what follows the whole prefix.

    A position that no path reaches, because the prefix is impossible or already complete, has total 0.
    """
    return _Filter(program, prefix, heldout=heldout, start=start).positions


def prefix_probabilities(program: Program, prefix: Sequence[str], *, heldout: bool) -> list[float]:
    """The exact probability of the first 1, 2, … tokens; much cheaper than their continuations."""
    return _Filter(program, prefix, heldout=heldout, start=len(prefix) + 1).reached


def write(run: Run, text: Iterable[str], names: Names = ()) -> None:
    """Emit given tokens, one after the other."""
    for token in text:
        run.emit(token, names)
