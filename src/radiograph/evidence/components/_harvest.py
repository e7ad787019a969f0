"""`radiograph.component-statistics/1`: what was counted of every component, and over how many tokens."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from radiograph.core import ExitCode
from radiograph.evidence._record import Record, Result

FEW = 10
"""Firings below which nothing that is scored of a component means anything."""


class WeightCounts(Record):
    """One decomposed weight."""

    address: str
    components: int = Field(ge=1)
    alive: int = Field(ge=0)
    """That fired at least once."""
    few: int = Field(ge=0)
    """Of these, with fewer than ten firings."""
    firings: int = Field(ge=0)


class ComponentHarvest(Result):
    """A harvest: raw counts lie in its tables, this says of what and of how many."""

    SCHEMA: ClassVar[str] = "radiograph.component-statistics/1"

    model: str
    model_sha256: str
    decomposition: str
    decomposition_sha256: str
    tokenizer_sha256: str | None
    weights: tuple[WeightCounts, ...]
    """In forward order."""
    fires: float
    """Importance above which a component fires."""
    tokens: int
    """Counted."""
    tokens_fed: int
    """BOS and other special tokens included."""
    tokens_excluded: int
    """Fed and not counted: special tokens. Padding is never fed as a token."""
    documents: int
    documents_left_out: int
    windows: int
    shards: int
    examples: int
    """Most examples of a component."""
    around: int
    """Tokens on each side of an example's centre."""
    output_tokens: int
    recorded: int
    """Tokens whose firings are all kept, in `records/`; drawn by whole windows."""
    data: dict[str, str]
    """Source to its hash."""
    spec_sha256: str
    """Of everything that decides a byte of the counts."""
    seed: int
    notes: tuple[str, ...] = ()

    @property
    def components(self) -> int:
        """Components in all."""
        return sum(weight.components for weight in self.weights)

    @property
    def alive(self) -> int:
        """Components that fired at least once."""
        return sum(weight.alive for weight in self.weights)

    @property
    def firings(self) -> int:
        """Over all components."""
        return sum(weight.firings for weight in self.weights)

    @property
    def headline(self) -> str:
        """How many fired, and how often."""
        if not self.alive:
            return f"none of {self.components:,} components fired on {self.tokens:,} tokens"
        mean = self.firings / max(1, self.tokens)
        return f"{self.alive:,} of {self.components:,} components fired on {self.tokens:,} tokens, {mean:,.1f} a token"

    @property
    def exit_code(self) -> ExitCode:
        """Where nothing fired, nothing was measured."""
        return ExitCode.PASS if self.alive else ExitCode.NOT_MEASURED

    @property
    def lines(self) -> tuple[str, ...]:
        """What a reader should not overlook."""
        return self.notes
