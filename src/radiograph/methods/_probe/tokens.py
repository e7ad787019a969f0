"""Texts to tokens, and which of them a label, or a probe, is about.

1. tokenised as the model is fed; conversations through its chat template; given tokens are taken as they are
2. marked are: the tokens that overlap the spans of a row, its last token, or every token of content (no special one).
   Where the last token speaks for a text, it is the last one marked; of a conversation that waits for its answer it is
   the token that the answer follows
3. longer texts are cut at the context of the model, and counted
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radiograph.core import Refusal, UserError, visible
from radiograph.probing import ContrastRow


@dataclass(frozen=True, eq=False)
class Tokens:
    """One text as a model is fed it."""

    id: str
    group: str
    ids: tuple[int, ...]
    marked: NDArray[np.bool_]
    final: int
    """The token that speaks for the text where the last one does: the last that is marked; of a conversation that waits
    for its answer, the one that the answer follows."""
    shown: str | None
    spell: Callable[[Sequence[int]], str] | None = None
    source: str = ""
    """Where it comes from."""


def of_rows(model: Any, rows: Iterable[ContrastRow]) -> list[Tokens]:
    """Labelled rows as tokens.

    Raises:
        UserError: a span that meets no token, a conversation without a template.
    """
    special = np.array(sorted(model.tokenizer.all_special_ids), dtype=np.int64)
    return [_of_row(model, row, special) for row in rows]


def of_texts(model: Any, texts: Iterable[Any]) -> list[Tokens]:
    """`harvest.Text`s as tokens, those of content marked.

    Raises:
        Refusal: `no_evidence`, no text with a token of content.
    """
    given = [text for text in texts if text.messages or text.tokens or text.text.strip()]
    rows = [
        ContrastRow(
            id=text.id,
            group=text.group,
            label=False,
            text=None if text.messages or text.tokens else text.text,
            messages=text.messages,
            tokens=text.tokens,
        )
        for text in given
    ]
    made = zip(of_rows(model, rows), given, strict=True)
    found = [replace(one, source=text.source) for one, text in made if one.marked.any()]
    if not found:
        raise Refusal(
            "no_evidence", "there is no text with a token to read", fix="give text with --data, or --evidence"
        )
    return found


def cut(texts: Sequence[Tokens], length: int) -> tuple[list[Tokens], NDArray[np.int64], int]:
    """Texts of at most `length` tokens, their places, and how many lost their end; without what lost all its marks."""
    out: list[Tokens] = []
    places: list[int] = []
    count = 0
    for place, text in enumerate(texts):
        if len(text.ids) > length:
            count += 1
            marked = text.marked[:length]
            if not marked.any():
                continue
            final = int(np.flatnonzero(marked)[-1])
            text = replace(text, ids=text.ids[:length], marked=marked, final=final)
        out.append(text)
        places.append(place)
    return out, np.array(places, dtype=np.int64), count


def _of_row(model: Any, row: ContrastRow, special: NDArray[np.int64]) -> Tokens:
    ids, offsets, start = _tokenised(model.tokenizer, row)
    content = ~np.isin(np.array(ids, dtype=np.int64), special)
    if row.last:
        marked = np.zeros(len(ids), dtype=bool)
        marked[-1] = True
    elif row.spans is None:
        marked = content
    else:
        marked = np.zeros(len(ids), dtype=bool)
        for first, stop in row.spans:
            marked |= np.array([a < start + stop and b > start + first and b > a for a, b in offsets], dtype=bool)
        if not marked.any():
            raise UserError("no token lies in the spans of a row", where=visible(row.id, 80), got=str(row.spans))
    waits = bool(row.messages) and row.messages[-1]["role"] != "assistant" and row.spans is None
    final = len(ids) - 1 if waits else int(np.flatnonzero(marked)[-1]) if marked.any() else 0

    def spell(some: Sequence[int]) -> str:
        return str(model.tokenizer.decode(list(some)))

    shown = spell(ids) if row.shown is None else row.shown
    return Tokens(row.id, row.group, ids, marked, final, shown, spell)


def _tokenised(tokenizer: Any, row: ContrastRow) -> tuple[tuple[int, ...], Sequence[tuple[int, int]], int]:
    """Ids, offsets of each token where spans need them, and where the text that spans count from begins."""
    if row.tokens:
        return row.tokens, (), 0
    if not row.messages:
        made = tokenizer(row.text, return_offsets_mapping=row.spans is not None, verbose=False)
        ids, offsets = tuple(made["input_ids"]), made.get("offset_mapping", ())
        bos = tokenizer.bos_token_id
        # A text that a template wrote out begins with BOS: the tokenizer's own would be a second one.
        twice = bos is not None and ids[:2] == (bos, bos)
        return ids[twice:], offsets[twice:], 0
    if row.spans is None:
        from radiograph.models import render_conversation

        return render_conversation(tokenizer, row.messages).ids, (), 0
    text = tokenizer.apply_chat_template(
        [dict(turn) for turn in row.messages],
        tokenize=False,
        add_generation_prompt=row.messages[-1]["role"] != "assistant",
    )
    start = text.rfind(row.messages[-1]["content"])
    if start < 0:
        raise UserError(
            "the chat template changes the last turn, so that its spans are lost", where=visible(row.id, 80)
        )
    made = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    return tuple(made["input_ids"]), made["offset_mapping"], start
