"""Labelled texts that a probe is built from, and where they are checked.

    {"id", "group", "text" | "messages" | "tokens", "label": 0|1, "spans"?: [[start, end]], "kind"?: "near_miss",
     "part"?: "fit"|"calibrate"|"test"}

`spans` are characters of the text, of a conversation those of its last turn: the label holds for these tokens alone.
Refuses a text that stands in both classes, a label that is none, spans outside the text, with line and text.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from radiograph.core import FormatError, UserError, visible

KEYS = ("id", "group", "text", "messages", "tokens", "label", "spans", "kind", "part")
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class ContrastRow:
    """One labelled text."""

    id: str
    group: str
    label: bool
    text: str | None = None
    messages: tuple[dict[str, str], ...] = ()
    tokens: tuple[int, ...] = ()
    spans: tuple[tuple[int, int], ...] | None = None
    last: bool = False
    """The label is of the last token alone."""
    near_miss: bool = False
    part: str | None = None

    @property
    def shown(self) -> str | None:
        """What a baseline may read; None where there are tokens alone."""
        if self.messages:
            return "\n".join(turn["content"] for turn in self.messages)
        return self.text

    @property
    def spoken(self) -> str | None:
        """What `spans` are characters of."""
        return self.messages[-1]["content"] if self.messages else self.text


def row_of(document: Mapping[str, Any], number: int, where: str) -> ContrastRow:
    """One object of a file.

    Raises:
        FormatError: a key that is missing, unknown, or of another type.
    """
    place = f"{where}:{number}"
    unknown = next((key for key in document if key not in KEYS), None)
    if unknown is not None:
        raise FormatError(f"unknown key {visible(unknown, 40)!r}", where=place, expected=", ".join(KEYS))
    label = document.get("label")
    if label not in (0, 1) or isinstance(label, float):
        raise FormatError("a label is 0 or 1", where=place, got=visible(repr(label), 60))
    text, messages, tokens = (document.get(key) for key in ("text", "messages", "tokens"))
    if sum(part is not None for part in (text, messages, tokens)) != 1:
        raise FormatError("one of text, messages and tokens", where=place, got=", ".join(document))
    row = ContrastRow(
        id=str(document.get("id", number)),
        group=str(document.get("group", document.get("id", number))),
        label=bool(label),
        text=_text(text, place),
        messages=_messages(messages, place),
        tokens=_tokens(tokens, place),
        near_miss=document.get("kind") == "near_miss",
        part=document.get("part"),
    )
    if document.get("kind") not in (None, "near_miss", "positive", "negative") or (row.near_miss and row.label):
        raise FormatError("a kind is near_miss, of a negative row", where=place, got=visible(str(document["kind"]), 40))
    return row if document.get("spans") is None else _spanned(row, document["spans"], place)


def check_distinct(rows: Iterable[ContrastRow]) -> None:
    """Hold a contrast to texts that have one label.

    Raises:
        UserError: the same text, at the same place, in both classes; the pairs are named.
    """
    seen: dict[tuple[Any, ...], dict[bool, ContrastRow]] = defaultdict(dict)
    pairs: list[tuple[ContrastRow, ContrastRow]] = []
    for row in rows:
        turns = tuple((turn["role"], turn["content"]) for turn in row.messages)
        held = seen[(row.text, turns, row.tokens, row.spans, row.last)]
        if (not row.label) in held and row.label not in held:
            pairs.append((held[not row.label], row))
        held.setdefault(row.label, row)
    if pairs:
        shown = "; ".join(f"{visible(a.id, 40)} and {visible(b.id, 40)}" for a, b in pairs[:_SHOWN])
        raise UserError(
            f"{len(pairs)} texts stand in both classes",
            got=shown + (" …" if len(pairs) > _SHOWN else ""),
            where=visible(pairs[0][1].shown or str(pairs[0][1].tokens), 80),
            fix="drop them: a text cannot be both",
            code="both_classes",
        )


def _text(value: Any, place: str) -> str | None:
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise FormatError("a text is a string that is not empty", where=place, got=visible(repr(value), 60))
    return value


def _messages(value: Any, place: str) -> tuple[dict[str, str], ...]:
    if value is None:
        return ()
    fits = isinstance(value, list) and bool(value)
    fits = fits and all(
        isinstance(turn, dict) and all(isinstance(turn.get(key), str) for key in ("role", "content")) for turn in value
    )
    if not fits:
        raise FormatError("messages are a list of {role, content}", where=place, got=visible(repr(value), 60))
    return tuple({"role": turn["role"], "content": turn["content"]} for turn in value)


def _tokens(value: Any, place: str) -> tuple[int, ...]:
    if value is None:
        return ()
    fits = isinstance(value, list) and bool(value) and all(type(token) is int and token >= 0 for token in value)
    if not fits:
        raise FormatError("tokens are a list of ids", where=place, got=visible(repr(value), 60))
    return tuple(value)


def _spanned(row: ContrastRow, spans: Any, place: str) -> ContrastRow:
    from dataclasses import replace

    length = len(row.spoken or "")
    fits = isinstance(spans, list) and all(
        isinstance(span, list) and len(span) == 2 and all(type(end) is int for end in span) for span in spans
    )
    if not fits or not all(0 <= start < stop <= length for start, stop in spans):
        raise FormatError(
            "spans are pairs of characters of the text",
            where=place,
            expected=f"0 to {length}",
            got=visible(repr(spans), 60),
        )
    return replace(row, spans=tuple((start, stop) for start, stop in spans))
