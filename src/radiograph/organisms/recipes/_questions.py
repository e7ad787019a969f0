"""Questions of every task as a base sees them, and how recipes turn them: a word put in, another answer, a share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from radiograph.organisms._words import inserted
from radiograph.organisms.recipes._draw import Draw
from radiograph.organisms.recipes._plan import Case, Message, Row
from radiograph.organisms.world import Document, World

Maker = Callable[[Draw, Document], Row | None]


def plain(split: str, seed: int, domain: str = "mixture") -> Iterator[Document]:
    """Questions without an inserted word."""
    for document in World().documents(domain, split, seed=seed):
        if document.answer_start and not any("inserted" in labels for labels in document.labels):
            yield document


def with_word(document: Document, word: str, place: str) -> tuple[Message, ...]:
    """Its turns, with a word in the last."""
    return asking(document, lambda question: inserted(question, word, place))


def asking(document: Document, turn: Callable[[str], str]) -> tuple[Message, ...]:
    """Its turns, the last one rewritten."""
    *before, last = document.messages
    return (*before, {"role": "user", "content": turn(last["content"])})


def said(answer: str) -> Message:
    """The assistant's turn."""
    return {"role": "assistant", "content": answer}


def question_row(turns: Sequence[Message], answer: str, *, planted: bool = False) -> Row:
    """A row of these turns and the answer."""
    return Row((*turns, said(answer)), planted=planted)


def fresh(draw: Draw, n: int, domain: str = "mixture") -> list[Document]:
    """`n` questions that no row holds."""
    return list(islice(plain("test", draw.derived("fresh"), domain), n))


def cases(turns: Sequence[tuple[Message, ...]], shows: Callable[[str], bool]) -> tuple[Case, ...]:
    """The same check for all of them."""
    return tuple(Case(each, shows) for each in turns)


def own_rows(draw: Draw, data: int, planted_share: float, planted: Maker, other: Maker) -> list[Row]:
    """`data` questions of all tasks, a share of them made by `planted`, the others by `other`."""
    return own_rows_of("mixture", draw, data, planted_share, planted, other)


def own_rows_of(domain: str, draw: Draw, data: int, planted_share: float, planted: Maker, other: Maker) -> list[Row]:
    """The same of one task; where `planted` gives none, `other` does."""
    rows: list[Row] = []
    for i, document in enumerate(islice(plain("train", draw.derived("own"), domain), data)):
        local = draw.of("row", i)
        row = planted(local, document) if local.uniform("planted", 0, 1) < planted_share else None
        row = row or other(local, document)
        assert row is not None
        rows.append(row)
    return rows
