"""One labelled row: a prompt, or one span of a prompt."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from radiograph.evidence import Half, RowKind

KINDS: Final[dict[str, RowKind]] = {
    "positive": "positive",
    "near_miss": "near_miss",
    "negative": "negative",
    "neutral": "negative",
}
Message = dict[str, str]
Level = str | int | float


@dataclass(frozen=True, slots=True)
class Row:
    """What a statistic needs to know of a row. Groups and halves are filled in by the compiler."""

    prompt_id: str
    text: str | None
    kind: RowKind
    source_group: str
    """As it was given; several may be united into one `group`."""
    score: float | None = None
    span: tuple[int, int] | None = None
    """Characters of `text`: the label holds for these tokens alone. None: for the prompt."""
    tokens: tuple[int, ...] = ()
    """Token ids of the text, where they are known; taken as they are."""
    messages: tuple[Message, ...] = ()
    """A conversation; `text` is then its last turn."""
    targets: tuple[str, ...] = ()
    foils: tuple[str, ...] = ()
    factors: Mapping[str, Level] = field(default_factory=dict)
    route: str = ""
    group: str = ""
    half: Half = "discover"

    @property
    def positive(self) -> bool:
        """The label."""
        return self.kind == "positive"

    @property
    def surface(self) -> str | None:
        """What a baseline may read: the span, or the text."""
        if self.text is None or self.span is None:
            return self.text
        return self.text[slice(*self.span)]

    @property
    def identity(self) -> tuple[object, ...]:
        """What a model is shown, and where it is looked at."""
        turns = tuple((m["role"], m["content"]) for m in self.messages)
        return self.text, self.span, turns, self.tokens


def agreed(label: bool | None, kind: object) -> RowKind:
    """The kind of a row from its label and the kind that it names.

    Raises:
        ValueError: neither, an unknown kind, or one that contradicts the label.
    """
    if kind is not None and (not isinstance(kind, str) or kind not in KINDS):
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
    named = KINDS[kind] if isinstance(kind, str) else None
    if label is None:
        if named is None:
            raise ValueError("no label: one of label, criterion_score, spans or kind is needed")
        return named
    if named is not None and (named == "positive") != label:
        raise ValueError(f"kind {named!r} contradicts the label {label}")
    return named or ("positive" if label else "negative")


def labelled(label: bool | None, score: float | None, threshold: float) -> bool | None:
    """The label of a row, else its score against the threshold; None without either.

    Raises:
        ValueError: the two contradict each other.
    """
    if score is None:
        return label
    if label is not None and label != (score >= threshold):
        raise ValueError(
            f"label {label} contradicts criterion_score {score:g} at --threshold {threshold:g}; leave one of them out"
        )
    return score >= threshold


def checked_score(value: Any) -> float:
    """A score in 0 to 1.

    Raises:
        ValueError: it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"criterion_score must be a number, got {value!r}")
    if not 0 <= value <= 1:
        raise ValueError(f"criterion_score must lie in 0 to 1, got {value!r}")
    return float(value)
