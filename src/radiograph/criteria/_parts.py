"""What routes draw from. Whoever compiles hands in what there is; each route says what it lacks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from radiograph.criteria._prompts import Prompts, Template
from radiograph.criteria._rows import Row
from radiograph.evidence import CriterionLabeller
from radiograph.store.chat import ChatClient


class Document(Protocol):
    """A document of the small world."""

    @property
    def id(self) -> str: ...
    @property
    def ids(self) -> tuple[int, ...]: ...
    @property
    def answer_start(self) -> int: ...


class Position(Protocol):
    """A labelled token of a document, as `organisms.world.Row` is one."""

    @property
    def document(self) -> Document: ...
    @property
    def position(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def probability(self) -> float | None: ...


class World(Protocol):
    """What the route `world` needs of the small world; the module `organisms.world` is one."""

    def rows(self, attribute: str, n: int, *, split: str = ..., seed: int = ...) -> Iterable[Position]:
        """Labelled tokens, half of them positive."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """The text of some tokens."""
        ...


@dataclass(frozen=True)
class Parts:
    """Everything that rows may come from."""

    text: str
    """The criterion in words, or `world:ATTRIBUTE`. No statistic looks at it."""
    prompts: Prompts | None = None
    threshold: float = 0.5
    """Scores from here on are positive."""
    template: Template | None = None
    world: World | None = None
    writer: ChatClient | None = None
    """Writes rows, or labels those of `texts`."""
    labeller: ChatClient | None = None
    """Labels them blind; the writer's endpoint if there is no other."""
    texts: Prompts | None = None
    """Unlabelled texts for the route `llm`."""
    count: int = 400
    """Rows that `world` draws and `llm` has written."""


@dataclass(frozen=True)
class Drawn:
    """The rows of one route."""

    rows: Sequence[Row]
    sha256: str | None = None
    dropped: Mapping[str, int] = field(default_factory=dict)
    definition: str | None = None
    labeller: CriterionLabeller | None = None
