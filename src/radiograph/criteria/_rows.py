"""One labelled row: a prompt, or one span of a prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from radiograph.evidence import Half, RowKind

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
