"""What a rule may say of a token: which it is, which stand beside it, what it looks like.

    token X · previous X · second X (two before) · next X · recent X (among the eight before)
    shape S · previous_shape S        S: number, capitalised, capitals, punctuation, word_start, text_start, repeated

Words of literals are those of the texts that teach, the commonest first; the same list serves every other text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from radiograph.core.shapes import Bool, Int64
from radiograph.explanations.texts._passages import Passages
from radiograph.numerics.explanations import Sparse, marked

RECENT: Final = 8
_LEAST: Final = 10
"""Tokens of the teaching texts that a word needs."""
_OFFSETS: Final[Mapping[str, tuple[tuple[int, ...], int]]] = {
    "token": ((0,), 4000),
    "previous": ((-1,), 2000),
    "second": ((-2,), 1000),
    "next": ((1,), 2000),
    "recent": (tuple(range(-RECENT, 0)), 500),
}
"""Where the word stands, and how many words are tried."""
_SAID: Final[Mapping[str, str]] = {
    "token": "the token is “{}”",
    "previous": "the token before is “{}”",
    "second": "“{}” stands two tokens before",
    "next": "the next token is “{}”",
    "recent": f"“{{}}” stands among the {RECENT} tokens before",
    "shape": "the token {}",
    "previous_shape": "the token before {}",
}
_SHAPE_SAID: Final[Mapping[str, str]] = {
    "number": "is a number",
    "capitalised": "is capitalised",
    "capitals": "is in capitals",
    "punctuation": "is punctuation",
    "word_start": "begins a word",
    "text_start": "is the first of the text",
    "repeated": "stood in the text before",
}


@dataclass(frozen=True, slots=True)
class Literal:
    """One thing to say of a token."""

    kind: str
    value: str

    def __str__(self) -> str:
        return _SAID[self.kind].format(_SHAPE_SAID[self.value] if self.kind.endswith("shape") else self.value)


_SHAPES: Final[Mapping[str, Callable[[str], bool]]] = {
    "number": lambda piece: any(map(str.isdigit, piece)) and not any(map(str.isalpha, piece)),
    "capitalised": lambda piece: piece.strip()[:1].isupper(),
    "capitals": lambda piece: len(piece.strip()) > 1 and piece.strip().isupper(),
    "punctuation": lambda piece: bool(piece.strip()) and not any(map(str.isalnum, piece)),
    "word_start": lambda piece: piece[:1].isspace(),
}


def catalogue(passages: Passages) -> tuple[Literal, ...]:
    """Everything that rules about these texts may say."""
    count = np.bincount(passages.tokens, minlength=len(passages.pieces))
    order = np.lexsort((np.arange(len(count)), -count))
    common = [str(passages.words[n]) for n in order[count[order] >= _LEAST]]
    common = list(dict.fromkeys(common))
    found = [Literal(kind, word) for kind, (_, most) in _OFFSETS.items() for word in common[:most]]
    shapes = _shapes(passages)
    telling = [name for name, holds in shapes.items() if 0.001 < holds.mean() < 0.95]
    found += [Literal("shape", name) for name in telling]
    found += [Literal("previous_shape", name) for name in telling if name in _SHAPES]
    return tuple(found)


def table(passages: Passages, literals: tuple[Literal, ...]) -> Sparse:
    """[token, literal]: where each holds."""
    n = len(passages.tokens)
    number: dict[str, dict[str, int]] = {}
    for place, literal in enumerate(literals):
        number.setdefault(literal.kind, {})[literal.value] = place
    rows: list[NDArray[np.int64]] = []
    columns: list[NDArray[np.int64]] = []
    for kind, (offsets, _) in _OFFSETS.items():
        known = number.get(kind, {})
        of_piece = np.array([known.get(word, -1) for word in passages.words], np.int64)
        for offset in offsets:
            at, beside = _shifted(passages, offset)
            held = of_piece[passages.tokens[beside]]
            rows.append(at[held >= 0])
            columns.append(held[held >= 0])
    shapes = _shapes(passages)
    before, beside = _shifted(passages, -1)
    for name, holds in shapes.items():
        if (place := number.get("shape", {}).get(name)) is not None:
            at = np.flatnonzero(holds)
            rows.append(at)
            columns.append(np.full(len(at), place))
        if (place := number.get("previous_shape", {}).get(name)) is not None:
            at = before[holds[beside]]
            rows.append(at)
            columns.append(np.full(len(at), place))
    row, column = np.concatenate(rows), np.concatenate(columns)
    # A word may stand several times among the eight before; it holds once.
    key = np.unique(row * max(1, len(literals)) + column)
    row, column = np.divmod(key, max(1, len(literals)))
    return marked(row, column, (n, len(literals)))


def _shifted(passages: Passages, offset: int) -> tuple[Int64[np.ndarray, " pair"], Int64[np.ndarray, " pair"]]:
    """Tokens, and the ones so many places away, both of one text."""
    n = len(passages.tokens)
    at = np.arange(max(0, -offset), n - max(0, offset))
    same = passages.text_of[at] == passages.text_of[at + offset]
    return at[same], at[same] + offset


def _shapes(passages: Passages) -> dict[str, Bool[np.ndarray, " token"]]:
    found = {
        name: np.array([test(piece) for piece in passages.pieces], bool)[passages.tokens]
        for name, test in _SHAPES.items()
    }
    start = np.zeros(len(passages.tokens), bool)
    start[passages.starts] = True
    key = passages.text_of * np.int64(max(1, len(passages.pieces))) + passages.tokens
    repeated = np.ones(len(key), bool)
    repeated[np.unique(key, return_index=True)[1]] = False
    return found | {"text_start": start, "repeated": repeated}
