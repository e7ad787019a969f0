"""The training rows of a file as they were learned, and the order in which their gradients are taken.

Rows are ordered by length and hash, not by place: neighbours share batches without padding, and a permuted file gives
the same gradients, byte for byte. Of equal rows the earlier stands first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic_core import to_json

from radiograph.core import FormatError, UserError
from radiograph.numerics.criteria import united

if TYPE_CHECKING:
    from pathlib import Path

    from radiograph.detectors import TrainingRow

Form = Literal["auto", "text", "prompt_response", "messages"]
BAD_SHOWN = 5


@dataclass(frozen=True)
class Row:
    """One row that can be learned from."""

    place: int
    """Among the rows of the file, from 0."""
    line: int
    id: str | None
    shown: str
    words: tuple[str, ...]
    sha256: str
    ids: tuple[int, ...]
    start: int
    """First token that is learned."""
    plain: bool
    """A text, all of which is learned; else a conversation, of which the last answer is."""

    turns: tuple[Mapping[str, str], ...] = ()
    """The conversation."""
    group: str | None = None
    """What the file says ties rows together."""
    before: float = 0.0
    """Weight in the loss of tokens before `start`."""
    after: float = 1.0

    @property
    def learned(self) -> tuple[tuple[int, ...], tuple[float, ...]]:
        """Token ids, and the weight of each in the loss."""
        return self.ids, (self.before,) * self.start + (self.after,) * (len(self.ids) - self.start)


@dataclass(frozen=True)
class Data:
    """A file of rows."""

    name: str
    sha256: str
    count: int
    rows: tuple[Row, ...]
    """Those with something to learn, in the order of gradients."""
    unscored: tuple[int, ...]
    """Lines of the others."""
    truncated: int

    @property
    def groups(self) -> list[str]:
        """What ties each row to others: the file's word, and equal content, under whatever names; else itself."""
        names = [row.sha256 if row.group is None else f"group:{row.group}" for row in self.rows]
        numbers = united([names, [row.sha256 for row in self.rows]]).tolist()
        smallest: dict[int, str] = {}
        for name, number in zip(names, numbers, strict=True):
            smallest[number] = min(name, smallest.get(number, name))
        return [smallest[number] for number in numbers]

    def weighed(self, plain: float, prompt: float) -> Data:
        """As a recipe weighs them: tokens of plain text, and those of prompts; answers have 1."""
        rows = (
            replace(row, before=plain, after=plain) if row.plain else replace(row, before=prompt) for row in self.rows
        )
        return replace(self, rows=tuple(rows))

    def kept(self, wanted: Sequence[int]) -> Data:
        """Only some of `rows`; the lines of the others become unscored."""
        chosen = set(wanted)
        lost = tuple(row.line for number, row in enumerate(self.rows) if number not in chosen)
        rows = tuple(row for number, row in enumerate(self.rows) if number in chosen)
        return replace(self, rows=rows, unscored=tuple(sorted((*self.unscored, *lost))))

    @property
    def ties(self) -> np.ndarray:
        """What breaks ties between equal scores: the row's hash, then its line; never its place among others."""
        order = sorted(range(len(self.rows)), key=lambda i: (self.rows[i].sha256, self.rows[i].line))
        out = np.empty(len(order), dtype=np.int64)
        out[order] = np.arange(len(order))
        return out


def read_data(path: Path, tokenizer: Any, limit: int, *, form: Form, chat: str) -> Data:
    """Every row of a file, parsed and tokenised as in training: the last answer is learned, or all of a text.

    Raises:
        FormatError: lines that are no rows of the form asked for; names the first five.
        UserError: no row has a token to learn inside the context.
    """
    from radiograph.detectors import read_rows
    from radiograph.detectors.measure.traces import row_tokens

    read = read_rows(path)
    bad = [(line, "not a row") for line in read.bad]
    rows: list[Row] = []
    unscored: list[int] = []
    truncated = 0
    for place, row in enumerate(read.rows):
        if (why := _unlike(row, form)) is not None:
            bad.append((row.line, why))
            continue
        try:
            ids, start = row_tokens(tokenizer, row, chat)
        except UserError as error:
            bad.append((row.line, error.message))
            continue
        truncated += len(ids) > limit
        ids = ids[:limit]
        if start >= len(ids):
            unscored.append(row.line)
            continue
        content = row.text if row.text is not None else [dict(m) for m in row.messages]
        sha256 = hashlib.sha256(to_json(content)).hexdigest()
        words = tuple(row.text.split() if row.text is not None else _words(row))
        rows.append(
            Row(
                place,
                row.line,
                row.id,
                row.shown,
                words,
                sha256,
                ids,
                start,
                row.text is not None,
                row.messages,
                row.group,
            )
        )
    if bad:
        first = "; ".join(f"line {line}: {why}" for line, why in sorted(bad)[:BAD_SHOWN])
        raise FormatError(
            f"{len(bad)} lines of {read.name} are no training rows",
            where=f"{read.name}:{min(line for line, _ in bad)}",
            expected='{"messages": [{"role", "content"}]}, {"prompt", "response"} or {"text"} on each line'
            + ("" if form == "auto" else f", here {form}"),
            got=first,
            fix="mend or remove these lines; every row counts",
        )
    if not rows:
        raise UserError(
            f"no row of {read.name} has a token to learn inside the context", where="--data", code="no_rows"
        )
    rows.sort(key=lambda r: (len(r.ids), r.sha256, r.line))
    return Data(read.name, read.sha256, len(read.rows), tuple(rows), tuple(unscored), truncated)


def added(turns: Sequence[tuple[Mapping[str, str], ...]], tokenizer: Any, count: int, chat: str) -> list[Row]:
    """Conversations as rows that stand in no file: lines below 0, places after the `count` of the file."""
    from radiograph.detectors import TrainingRow
    from radiograph.detectors.measure.traces import row_tokens

    out: list[Row] = []
    for number, messages in enumerate(turns):
        row = TrainingRow(-1 - number, None, messages)
        ids, start = row_tokens(tokenizer, row, chat)
        sha256 = hashlib.sha256(to_json([dict(m) for m in messages])).hexdigest()
        words = tuple(_words(row))
        out.append(Row(count + number, row.line, None, row.shown, words, sha256, ids, start, False, messages))
    return out


def _unlike(row: TrainingRow, form: Form) -> str | None:
    """Why a row is not of a form; None where it is."""
    given = "text" if row.text is not None else "messages"
    if (
        form == "auto"
        or given == form
        or (form == "prompt_response" and given == "messages" and len(row.messages) == 2)
    ):
        return None
    return f"a row of {given}"


def _words(row: TrainingRow) -> list[str]:
    return [word for message in row.messages for word in message["content"].split()]
