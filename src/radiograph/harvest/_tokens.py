"""Texts to windows of tokens, each with the rows to keep.

1. tokenise as the model is fed, special tokens included; conversations go through the chat template; a `tokens` column
is taken as it is   2. mark the rows to keep   3. cut longer documents into windows: every window starts with the
special tokens that start the document (BOS), and none holds two documents

    content     no BOS, EOS, padding, other specials      all         every token, but BOS unless it is asked for
    last        the last row of content of a document     assistant   what the template marks as said by the assistant
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from radiograph.core import UserError
from radiograph.harvest._sources import Text

Keep = Literal["content", "all", "last", "assistant"]
CHUNK = 256
"""Texts tokenised together."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How texts become windows."""

    length: int = 512
    """Most tokens of a window."""
    window: bool = True
    """Longer documents go on in the next window; else they are truncated."""
    rows: Keep = "content"
    bos: Literal["skip", "keep"] = "skip"
    """Whether rows of BOS are kept; it is always fed where the tokenizer adds it."""
    chat: Literal["template", "plain"] = "template"


@dataclass(frozen=True, slots=True)
class Encoded:
    """The tokens of one document, a mark a token, and how many specials lead."""

    ids: tuple[int, ...]
    kept: tuple[bool, ...]
    lead: int


def encode(tokenizer: Any, texts: Iterable[Text], reading: Reading) -> Iterator[tuple[Text, Encoded]]:
    """Every text with its tokens, in order.

    Raises:
        UserError: text without a tokenizer; conversations that the template rejects; `assistant` without marks.
    """
    special = frozenset(tokenizer.all_special_ids) if tokenizer is not None else frozenset()
    stream = iter(texts)
    while chunk := list(islice(stream, CHUNK)):
        plain = [text.text for text in chunk if _is_plain(text)]
        if plain and tokenizer is None:
            raise UserError("there is no tokenizer", fix="harvest needs text to become tokens, or a column of tokens")
        found = iter(tokenizer(plain, verbose=False)["input_ids"] if plain else ())  # type: ignore[reportOptionalCall]
        for text in chunk:
            own, said = (_once(tokenizer, next(found)), None) if _is_plain(text) else _ready(tokenizer, text, reading)
            yield text, _marked(tokenizer, own, said, special, reading, plain=_is_plain(text))


def pieces(document: Encoded, reading: Reading) -> list[tuple[tuple[int, ...], tuple[bool, ...]]]:
    """The first window whole; each later one led by the same special tokens, whose rows were kept once already.

    Windows without a row to keep are left out.
    """
    ids, kept, lead = document.ids, document.kept, document.lead
    room = reading.length - lead
    if room < 1:
        raise UserError(
            "a window has no room for content", expected=f"more than {lead} tokens", got=str(reading.length)
        )
    out = [(ids[: reading.length], kept[: reading.length])]
    for start in range(reading.length, len(ids) if reading.window else 0, room):
        part = slice(start, start + room)
        out.append((ids[:lead] + ids[part], (False,) * lead + kept[part]))
    return [(tokens, marks) for tokens, marks in out if any(marks)]


def _once(tokenizer: Any, ids: Sequence[int]) -> tuple[int, ...]:
    """A text that was written out by a template begins with BOS; the tokenizer's own would be a second one."""
    bos = getattr(tokenizer, "bos_token_id", None)
    return tuple(ids[1:] if bos is not None and list(ids[:2]) == [bos, bos] else ids)


def _is_plain(text: Text) -> bool:
    return not text.tokens and not text.messages


def _ready(tokenizer: Any, text: Text, reading: Reading) -> tuple[tuple[int, ...], tuple[bool, ...] | None]:
    if text.tokens:
        return text.tokens, None
    from radiograph.models import render_chat, render_conversation

    if tokenizer is None:
        raise UserError("there is no tokenizer", fix="harvest needs messages to become tokens")
    if text.prefill:
        return render_chat(tokenizer, text.messages, chat=reading.chat, prefill=True).ids, None
    made = render_conversation(tokenizer, text.messages, chat=reading.chat)
    return made.ids, made.assistant


def _marked(
    tokenizer: Any,
    ids: tuple[int, ...],
    said: tuple[bool, ...] | None,
    special: frozenset[int],
    reading: Reading,
    *,
    plain: bool,
) -> Encoded:
    bos = getattr(tokenizer, "bos_token_id", None)
    led = bool(ids) and bos is not None and ids[0] == bos
    content = [token not in special for token in ids]
    lead = next((i for i, own in enumerate(content) if own), len(ids)) if plain else int(led)
    kept = _rows(content, said, reading)
    if led and reading.rows in ("content", "all"):
        kept[0] = reading.bos == "keep"
    return Encoded(ids, tuple(kept), lead)


def _rows(content: Sequence[bool], said: tuple[bool, ...] | None, reading: Reading) -> list[bool]:
    match reading.rows:
        case "content":
            return list(content)
        case "all":
            return [True] * len(content)
        case "last":
            last = max((i for i, own in enumerate(content) if own), default=-1)
            return [i == last for i in range(len(content))]
        case "assistant":
            if said is None:
                raise UserError(
                    "nothing marks what the assistant says",
                    expected="conversations, and a chat template with {% generation %} around assistant turns",
                    fix="use --rows content",
                    code="no_assistant_marks",
                )
            return [own and mark for own, mark in zip(content, said, strict=True)]
