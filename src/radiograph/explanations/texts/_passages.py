"""Texts as tokens, and where features fire in them: what every explainer and every scorer reads.

1. a text is a run of tokens; a token knows its piece of text, with the space before it
2. a feature fires on a token where its value is above a threshold of its own; below it, and above 0, it is weak: no
   evidence of firing and none of silence; a (feature, token) without an entry is silent
3. groups that hold the same text (case and spaces folded) are one group: a copy of a text is no new text
4. groups of texts are parted by a keyed hash into three: half is reserved for scoring; of the rest two thirds teach and
   one third checks what was learned. Nobody who explains sees a reserved text
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from radiograph.core import Refusal
from radiograph.core.shapes import Bool, Float64, Int64
from radiograph.numerics.criteria import united
from radiograph.numerics.design import folded
from radiograph.numerics.explanations import Sparse, owners

RESERVED: Final = 0.5
CHECKED: Final = 1 / 3
"""Share of the groups that explain."""
LEARN, CHECK, RESERVE = 0, 1, 2


@dataclass(frozen=True, eq=False)
class Passages:
    """Texts in order, one after the other."""

    pieces: tuple[str, ...]
    """What tokens look like, each once."""
    tokens: Int64[np.ndarray, " token"]
    """The piece of each token."""
    starts: Int64[np.ndarray, " text"]
    names: tuple[str, ...]
    """Prompt id of each text."""
    groups: tuple[str, ...]
    """Group of each text."""

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def ends(self) -> Int64[np.ndarray, " text"]:
        """The token after the last one of each text."""
        return np.append(self.starts[1:], len(self.tokens))

    @cached_property
    def text_of(self) -> Int64[np.ndarray, " token"]:
        """The text of each token."""
        return np.repeat(np.arange(len(self)), self.ends - self.starts)

    @cached_property
    def numbered(self) -> tuple[Int64[np.ndarray, " text"], int]:
        """The number of each text's group, and how many groups there are."""
        names, number = np.unique(np.array(self.groups, dtype=object).astype(str), return_inverse=True)
        return number.reshape(-1).astype(np.int64), len(names)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Each text with case and spaces folded: equal for copies."""
        words = [self.pieces[n] for n in self.tokens]
        bounds = zip(self.starts.tolist(), self.ends.tolist(), strict=True)
        return tuple(folded("".join(words[first:last])) for first, last in bounds)

    def united(self) -> Passages:
        """The same with one group for all that hold a common text, called after the smallest."""
        number = united([self.groups, self.keys]).tolist()
        name: dict[int, str] = {}
        for group, n in zip(self.groups, number, strict=True):
            name[n] = min(group, name.get(n, group))
        return replace(self, groups=tuple(name[n] for n in number))

    @cached_property
    def words(self) -> NDArray[Any]:
        """Pieces without the spaces around them, for comparisons and for people."""
        return np.array([piece.strip() or repr(piece)[1:-1] for piece in self.pieces], dtype=object)

    def take(self, texts: Bool[np.ndarray, " text"]) -> Passages:
        """Some of the texts."""
        lengths = (self.ends - self.starts)[texts]
        return Passages(
            self.pieces,
            self.tokens[texts[self.text_of]],
            np.cumsum(lengths) - lengths,
            tuple(name for name, kept in zip(self.names, texts, strict=True) if kept),
            tuple(name for name, kept in zip(self.groups, texts, strict=True) if kept),
        )


@dataclass(frozen=True, eq=False)
class Material:
    """Texts with what features do on them."""

    passages: Passages
    fires: Sparse
    """[feature, token], values above the feature's threshold."""
    numbers: Int64[np.ndarray, " feature"]
    """Number of each feature in its dictionary or records."""
    ids: tuple[str, ...]
    weak: Sparse | None = None
    """[feature, token], values above 0 that do not reach it; None: there are none."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def values(self) -> Sparse:
        """All values above 0."""
        return self.fires if self.weak is None else (self.fires + self.weak).tocsr()

    def take(self, texts: Bool[np.ndarray, " text"]) -> Material:
        """The same features on some of the texts."""
        kept = texts[self.passages.text_of]
        at = np.flatnonzero(kept)
        weak = None if self.weak is None else self.weak[:, at]
        return Material(self.passages.take(texts), self.fires[:, at], self.numbers, self.ids, weak)

    def choose(self, features: Sequence[int]) -> Material:
        """Some of the features on the same texts."""
        weak = None if self.weak is None else self.weak[features]
        ids = tuple(self.ids[n] for n in features)
        return Material(self.passages, self.fires[features], self.numbers[features], ids, weak)

    def above(self, thresholds: Float64[np.ndarray, " feature"]) -> Material:
        """The same with other thresholds."""
        values = self.values
        if not thresholds.any():
            return replace(self, fires=values, weak=None)
        strong = values.data > thresholds[owners(values)]
        parted: list[Sparse] = []
        for kept in (strong, ~strong):
            part = values.copy()
            part.data = np.where(kept, values.data, 0.0)
            part.eliminate_zeros()
            parted.append(part)
        return replace(self, fires=parted[0], weak=parted[1])


def parts(groups: Sequence[str], seed: int) -> NDArray[np.int64]:
    """LEARN, CHECK or RESERVE for each text, the same for all texts of a group and whatever their order.

    Raises:
        Refusal: `few_groups`, under six groups.
    """
    key = str(seed).encode()
    names = sorted(set(groups), key=lambda g: (hashlib.blake2b(g.encode("utf-8", "replace"), key=key).digest(), g))
    if len(names) < 6:
        raise Refusal(
            "few_groups",
            "too few groups of texts to explain on some and to score on others",
            expected="6 or more",
            got=str(len(names)),
            fix="more texts, or texts with a group_id of their own",
        )
    reserved = round(RESERVED * len(names))
    check = reserved + max(1, round(CHECKED * (len(names) - reserved)))
    part = {name: RESERVE if n < reserved else CHECK if n < check else LEARN for n, name in enumerate(names)}
    return np.array([part[group] for group in groups], np.int64)
