"""The rows of a file beside what the reference answers to the same prompts.

Both answers stand in the same conversation, written by the same template: a row that says what the reference says has
the same tokens, and scores exactly 0. Read are the tokens of the answer; those that the template closes it with are
not. The reference answers greedily, each prompt once, and is stopped at `ANSWER_TOKENS`, or where the longest answer
that a row gives to that prompt ends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.core import UserError
from radiograph.methods._blame.targets import ANSWER_TOKENS, Learned

if TYPE_CHECKING:
    from radiograph.core.progress import Progress
    from radiograph.methods._blame.rows import Data, Row
    from radiograph.models import LanguageModel

PROMPTS = 512
"""Answered at once."""
PLAIN = "a text has no answer"
EMPTY = "the answer is empty"
OUTSIDE = "no token of the answer lies inside the context"
SILENT = "the reference says nothing to the prompt"


@dataclass(frozen=True)
class Paired:
    """A row, and both answers in the conversation: token ids, and a 1 where they are read."""

    row: Row
    prompt: int
    own: Learned
    reference: Learned


@dataclass(frozen=True)
class Pairs:
    """All rows that have two answers; equal prompts stand together, and so do equal rows."""

    rows: tuple[Paired, ...]
    said: tuple[str, ...]
    """By prompt, what the reference answers."""
    unscored: tuple[tuple[int, str], ...]
    """Lines and reasons."""
    cut: int
    """Answers of the reference that were stopped."""


def pairs(model: LanguageModel, data: Data, chat: str, progress: Progress) -> Pairs:
    """Let the reference answer every prompt.

    Raises:
        UserError: no row has two answers.
    """
    tokenizer: Any = model.tokenizer
    special = frozenset(tokenizer.all_special_ids)
    unscored = [(line, OUTSIDE) for line in data.unscored]
    found: list[tuple[Row, Learned]] = []
    for row in data.rows:
        own = None if row.plain else _read(tokenizer, row.ids, row.start, special)
        if own is None:
            unscored.append((row.line, PLAIN if row.plain else EMPTY))
        else:
            found.append((row, own))
    # By tokens, then line: a permuted file gives the same batches.
    found.sort(key=lambda one: (_asked(one[0]), one[1], one[0].line))
    prompts = list(dict.fromkeys(_asked(row) for row, _ in found))
    number = {prompt: place for place, prompt in enumerate(prompts)}
    room = [ANSWER_TOKENS] * len(prompts)
    for row, _ in found:
        room[number[_asked(row)]] = max(room[number[_asked(row)]], len(row.ids) - row.start)
    texts, cut = _answers(model, prompts, room, progress)
    first: dict[int, Learned | None] = {}
    kept: list[Paired] = []
    for row, own in found:
        place = number[_asked(row)]
        if place not in first:
            first[place] = _said(model, row, texts[place], chat, special)
        said = first[place]
        if said is None:
            unscored.append((row.line, SILENT))
        else:
            kept.append(Paired(row, place, own, said))
    if not kept:
        reasons = Counter(why for _, why in unscored)
        raise UserError(
            f"no row of {data.name} has an answer to compare",
            where="--data",
            expected='{"messages": [{"role", "content"}]} or {"prompt", "response"} on each line',
            got="; ".join(f"{count} lines: {why}" for why, count in sorted(reasons.items())),
            fix="give rows with prompts and answers; a plain text has none",
            code="no_answers",
        )
    return Pairs(tuple(kept), tuple(texts), tuple(sorted(unscored)), cut)


def _asked(row: Row) -> tuple[int, ...]:
    return row.ids[: row.start]


def _read(tokenizer: Any, ids: Sequence[int], start: int, special: frozenset[int]) -> Learned | None:
    """A conversation with a 1 at the tokens of its answer; None where it has none.

    What follows the last special token is the template's if it is blank, and so is every special token.
    """
    end = len(ids)
    last = next((i for i in range(end - 1, start - 1, -1) if ids[i] in special), None)
    if last is not None and not str(tokenizer.decode(list(ids[last + 1 :]))).strip():
        end = last
    marks = tuple(float(start <= i < end and token not in special) for i, token in enumerate(ids))
    return (tuple(ids), marks) if any(marks) else None


def _answers(
    model: LanguageModel, prompts: Sequence[tuple[int, ...]], room: Sequence[int], progress: Progress
) -> tuple[list[str], int]:
    """What a model says to each prompt within its room, as text; how many answers were stopped there."""
    from radiograph.models import generate

    out = [""] * len(prompts)
    cut = 0
    # Those with the most room together: greedy answers are their own beginnings, so that a longer one can be cut.
    order = sorted(range(len(prompts)), key=lambda i: (room[i], i))
    with progress.task("answers of the reference", len(order)) as task:
        for start in range(0, len(order), PROMPTS):
            block = order[start : start + PROMPTS]
            made = generate(model, [prompts[i] for i in block], max_new_tokens=room[block[-1]])
            for i, one in zip(block, made, strict=True):
                stopped = one.finish == "length" or len(one.ids) > room[i]
                cut += stopped
                out[i] = _text(model, one.ids[: room[i]]) if stopped else one.text or ""
            task.advance(len(block))
    return out, cut


def _text(model: LanguageModel, ids: Sequence[int]) -> str:
    tokenizer: Any = model.tokenizer
    return str(tokenizer.decode(list(ids), skip_special_tokens=True))


def _said(model: LanguageModel, row: Row, text: str, chat: str, special: frozenset[int]) -> Learned | None:
    """The reference's answer in the conversation of a row."""
    from radiograph.detectors import TrainingRow
    from radiograph.detectors.measure.traces import row_tokens

    if not text.strip():
        return None
    turns = (*row.turns[:-1], {"role": "assistant", "content": text})
    ids, start = row_tokens(model.tokenizer, TrainingRow(row.line, None, turns), chat)
    return _read(model.tokenizer, ids[: model.context_length], start, special)


def lengths(rows: Sequence[Paired]) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of each row's answer, and of the reference's."""
    own = np.array([sum(pair.own[1]) for pair in rows], dtype=np.int64)
    return own, np.array([sum(pair.reference[1]) for pair in rows], dtype=np.int64)
