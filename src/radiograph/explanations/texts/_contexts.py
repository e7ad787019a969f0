"""Which windows of text an explainer is shown, and which a judge is asked about.

Explaining: the strongest windows; one of each part of the other firing ones by strength; near misses, silent windows
that share the most with what fires. Scoring, for every seed anew: firing windows, one of each tenth by strength;
silent ones at random; hard silent ones, drawn from those that share the most with what fires. What a window shares is
the sum over its words of how often each is the strongest token of a window that fires, in the texts that explain.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Literal

import numpy as np

from radiograph.core import derive
from radiograph.core.shapes import Bool, Float64, Int64
from radiograph.explanations.texts._passages import Material
from radiograph.numerics.explanations import Sparse, Windows, marked, peaks, windows_of

WINDOW: Final = 32
FIRING, RANDOM, HARD = 10, 5, 5
LEAST: Final = 5
"""Firing and silent windows that a score needs."""
_SHORTEST: Final = 4
_HARD_POOL: Final = 50
Role = Literal["top", "decile", "near_miss", "firing", "random", "hard"]


@dataclass(frozen=True, eq=False)
class Context:
    """A window of text with what one feature does in it."""

    role: Role
    window: int
    prompt_id: str
    group: str
    tokens: tuple[str, ...]
    values: Float64[np.ndarray, " token"]
    """Weak ones too."""
    strong: Bool[np.ndarray, " token"]
    """Where the feature fires."""

    @property
    def fires(self) -> bool:
        """Whether the feature fires in it."""
        return bool(self.strong.any())

    @property
    def text(self) -> str:
        """As it stands in its text."""
        return "".join(self.tokens).strip()


@dataclass(frozen=True, eq=False)
class Windowed:
    """Material cut into windows."""

    material: Material
    length: int = WINDOW
    _last: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def windows(self) -> Windows:
        """Where they begin and end."""
        passages = self.material.passages
        return windows_of(passages.starts, len(passages.tokens), self.length)

    @cached_property
    def _peaks(self) -> tuple[Sparse, Sparse]:
        return peaks(self.material.fires, self.windows.of, len(self.windows.first))

    @cached_property
    def words(self) -> Sparse:
        """[window, piece]: which pieces stand in a window."""
        tokens, pieces = self.material.passages.tokens, len(self.material.passages.pieces)
        key = np.unique(self.windows.of * np.int64(pieces) + tokens)
        row, column = np.divmod(key, pieces)
        return marked(row, column, (len(self.windows.first), pieces))

    @cached_property
    def values(self) -> Sparse:
        """[feature, token], weak values too."""
        return self.material.values

    def firing(self, feature: int) -> Int64[np.ndarray, " window"]:
        """Windows in which a feature fires, strongest first."""
        strongest, _ = self._peaks
        own: Any = strongest[feature]
        return own.indices[np.lexsort((own.indices, -own.data))].astype(np.int64)

    def silent(self, feature: int) -> Int64[np.ndarray, " window"]:
        """Windows of some length in which it does nothing, nothing weak either."""
        long = self.windows.last - self.windows.first >= _SHORTEST
        own: Any = self.values[feature]
        long[self.windows.of[own.indices]] = False
        return np.flatnonzero(long)

    def typical(self, feature: int, most: int = 50) -> dict[str, float]:
        """Words to how often each is the strongest token, among the strongest windows."""
        _, places = self._peaks
        own: Any = places[feature]
        at = dict(zip(own.indices.tolist(), own.data.tolist(), strict=True))
        passages = self.material.passages
        words = [str(passages.words[passages.tokens[at[w] - 1]]) for w in self.firing(feature)[:most].tolist()]
        return {word: words.count(word) / len(words) for word in dict.fromkeys(words)}

    def shared(self, typical: dict[str, float]) -> Float64[np.ndarray, " window"]:
        """How much each window shares with words that are typical of a feature."""
        weight = np.array([typical.get(str(word), 0.0) for word in self.material.passages.words])
        return np.asarray(self.words @ weight).reshape(-1)

    def _rows(self, feature: int) -> tuple[Float64[np.ndarray, " token"], Float64[np.ndarray, " token"]]:
        """All values of a feature, and those that fire; the last one that was asked for is kept."""
        if self._last.get("feature") != feature:
            tables = (self.values, self.material.fires)
            self._last.update(feature=feature, rows=tuple(table[feature].toarray().reshape(-1) for table in tables))
        return self._last["rows"]

    def context(self, feature: int, window: int, role: Role) -> Context:
        """One window."""
        passages, windows = self.material.passages, self.windows
        first, last = int(windows.first[window]), int(windows.last[window])
        text = int(windows.text[window])
        values, strong = (row[first:last] for row in self._rows(feature))
        tokens = tuple(passages.pieces[n] for n in passages.tokens[first:last])
        return Context(role, window, passages.names[text], passages.groups[text], tokens, values, strong > 0)


def explaining(given: Windowed, feature: int, *, top: int = 5, deciles: int = 5, near: int = 5) -> list[Context]:
    """What an explainer is shown of a feature, strongest first; empty where it never fires."""
    firing = given.firing(feature)
    chosen = _as("top", firing[:top])
    rest = firing[top:]
    if len(rest):
        cut = np.array_split(rest, min(deciles, len(rest)))
        chosen += _as("decile", np.array([part[len(part) // 2] for part in cut]))
    if len(firing):
        silent = given.silent(feature)
        share = given.shared(given.typical(feature))[silent]
        order = np.lexsort((silent, -share))[:near]
        chosen += _as("near_miss", silent[order[share[order] > 0]])
    return [given.context(feature, window, role) for window, role in chosen]


def scoring(given: Windowed, feature: int, typical: dict[str, float], seed: int) -> list[Context]:
    """What a judge is asked about, in an order that says nothing; empty where there is too little to ask about."""
    rng = np.random.default_rng(derive(seed, "scoring", given.material.ids[feature]))
    firing, silent = given.firing(feature), given.silent(feature)
    if len(firing) < LEAST or len(silent) < LEAST:
        return []
    cut = np.array_split(firing, min(FIRING, len(firing)))
    drawn = _as("firing", np.array([rng.choice(part) for part in cut]))
    share = given.shared(typical)
    pool = silent[np.lexsort((silent, -share[silent]))][: min(_HARD_POOL, max(HARD, len(silent) // 4))]
    pool = pool[share[pool] > 0]
    hard = rng.permutation(pool)[:HARD]
    others = np.setdiff1d(silent, hard)
    drawn += _as("hard", hard) + _as("random", rng.permutation(others)[: RANDOM + HARD - len(hard)])
    return [given.context(feature, *drawn[n]) for n in rng.permutation(len(drawn))]


def _as(role: Role, windows: Int64[np.ndarray, " window"]) -> list[tuple[int, Role]]:
    return [(int(window), role) for window in windows]
