"""Token lists to measure on, and which of their positions count.

Content tokens count: no BOS, EOS or padding; and never the first position of a text or window, where attention sinks
make activations of another size. Token lists that are given count whole, but for their first position.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from radiograph.core import UserError
from radiograph.harvest._plan import Limits, plan
from radiograph.harvest._sources import Text
from radiograph.harvest._tokens import Reading


@dataclass(frozen=True, slots=True)
class Rows:
    """Token lists; `kept` marks the positions that are measured, `owner` the text that each list belongs to."""

    tokens: tuple[tuple[int, ...], ...]
    kept: tuple[tuple[bool, ...], ...]
    names: tuple[str, ...]
    """Ids of texts."""
    owner: tuple[int, ...]

    @property
    def n(self) -> int:
        """Positions that are measured."""
        return sum(map(sum, self.kept))

    @property
    def sha256(self) -> str:
        """Hash of everything that is fed and kept."""
        digest = hashlib.sha256(b"radiograph.rows/1")
        for ids, kept, owner in zip(self.tokens, self.kept, self.owner, strict=True):
            digest.update(np.array([len(ids), owner, *ids], "<u4").tobytes() + bytes(kept))
        return digest.hexdigest()


def rows_of_texts(
    tokenizer: Any, texts: Iterable[Text], *, length: int, vocabulary: int, max_tokens: int | None = None
) -> Rows:
    """Texts as the model is fed, cut into windows.

    Raises:
        UserError: no tokenizer where there is text, no text with two tokens, an id twice.
    """
    made = plan(
        tokenizer,
        texts,
        Reading(length, rows="content"),
        Limits(validation=0.0, max_tokens=max_tokens),
        vocabulary=vocabulary,
    )
    names: dict[str, int] = {}
    tokens: list[tuple[int, ...]] = []
    kept: list[tuple[bool, ...]] = []
    owner: list[int] = []
    for number in range(len(made)):
        window = made.window(number)
        marks = (False, *window.kept[1:])
        if any(marks):
            owner.append(names.setdefault(window.prompt, len(names)))
            tokens.append(window.ids)
            kept.append(marks)
    return _some(Rows(tuple(tokens), tuple(kept), tuple(names), tuple(owner)))


def rows_of_tokens(tokens: Sequence[Sequence[int]], names: Sequence[str] | None = None) -> Rows:
    """Token lists as they are.

    Raises:
        UserError: none has two tokens.
    """
    lists = tuple(tuple(ids) for ids in tokens)
    kept = tuple((False, *[True] * (len(ids) - 1)) for ids in lists)
    titles = tuple(map(str, range(len(lists)))) if names is None else tuple(names)
    return _some(Rows(lists, kept, titles, tuple(range(len(lists)))))


def _some(rows: Rows) -> Rows:
    if not rows.n:
        raise UserError(
            "no text has a token to measure",
            expected="texts of two tokens or more: the first position of each is left out",
            got=f"{len(rows.names)} texts",
            code="no_rows",
        )
    return rows
