"""Texts to windows of tokens, each with the rows to keep and the side of the split it is on.

1. tokenise as the model is fed, special tokens included   2. cut longer documents into windows; every window starts
with the special tokens that start the document (BOS), and none holds two documents   3. keep the rows of content: BOS,
EOS and other specials are fed and not kept   4. split by group: a keyed hash of (salt, group) below the validation
share; groups that hold an equal token sequence are united first, so no duplicate straddles the split
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from radiograph.core import UserError
from radiograph.harvest._sources import Text
from radiograph.models import tokenize

Split = Literal["train", "validation"]
Keep = Literal["content", "all"]


@dataclass(frozen=True, slots=True)
class Window:
    """Tokens that run together, and which of their rows are kept."""

    prompt: str
    group: str
    ids: tuple[int, ...]
    kept: tuple[bool, ...]
    split: Split = "train"


def windows(
    tokenizer: Any,
    texts: Sequence[Text],
    *,
    length: int,
    keep: Keep = "content",
    validation: float = 0.1,
    salt: int = 0,
) -> list[Window]:
    """Windows of all texts in order; a text without a token to keep gives none.

    Raises:
        UserError: no text has a token to keep, or the validation share is outside [0, 1).
    """
    if not 0 <= validation < 1:
        raise UserError("the validation share", expected="at least 0, below 1", got=str(validation))
    cut: list[tuple[Text, tuple[int, ...], list[Window]]] = []
    for text in texts:
        prompt = tokenize(tokenizer, text.text)
        kept = tuple(keep == "all" or kind != "special" for kind in prompt.kinds)
        lead = next((i for i, kind in enumerate(prompt.kinds) if kind != "special"), len(prompt.ids))
        parts = [Window(text.id, text.group, *part) for part in _cut(prompt.ids, kept, lead, length)]
        if any(kept):
            cut.append((text, prompt.ids, [part for part in parts if any(part.kept)]))
    if not cut:
        raise UserError("no text has a token to keep", got=f"{len(texts)} texts")
    united = _united([(text.group, ids) for text, ids, _ in cut])
    return [
        Window(w.prompt, w.group, w.ids, w.kept, _side(united[w.group], salt, validation))
        for _, _, parts in cut
        for w in parts
    ]


def _cut(
    ids: tuple[int, ...], kept: tuple[bool, ...], lead: int, length: int
) -> list[tuple[tuple[int, ...], tuple[bool, ...]]]:
    """The first window whole; each later one led by the same special tokens, whose rows were kept once already."""
    room = length - lead
    if room < 1:
        raise UserError("a window has no room for content", expected=f"more than {lead} tokens", got=str(length))
    out = [(ids[:length], kept[:length])]
    for start in range(length, len(ids), room):
        part = slice(start, start + room)
        out.append((ids[:lead] + ids[part], (False,) * lead + kept[part]))
    return out


def _united(entries: list[tuple[str, tuple[int, ...]]]) -> dict[str, str]:
    """Group to the smallest name among the groups it is tied to by equal token sequences."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    owner: dict[tuple[int, ...], str] = {}
    for group, ids in entries:
        low, high = sorted((root(group), root(owner.setdefault(ids, group))))
        parent[high] = low
    return {group: root(group) for group, _ in entries}


def _side(group: str, salt: int, validation: float) -> Split:
    digest = hashlib.blake2b(group.encode(), key=f"radiograph.split/{salt}".encode(), digest_size=8).digest()
    return "validation" if int.from_bytes(digest, "big") < validation * 2**64 else "train"
