"""`radiograph.attributions/1`: direct effects over data, of what on what, and over how many tokens."""

from __future__ import annotations

from typing import ClassVar

from radiograph.core import ExitCode
from radiograph.evidence._record import Record, Result


class EffectMean(Record):
    """A mean over counted tokens, how exactly it is known, and what chance gives."""

    value: float
    low: float | None
    """Ends of the 95 % interval over texts, of this effect by itself. None: too few texts."""
    high: float | None
    p: float
    """(1 + random readers of the target's matrix on which the source's effect is as large)/(1 + readers)."""


class ShownEffect(Record):
    """One strong effect."""

    source: str
    target: str
    signed: EffectMean
    abs: EffectMean
    modulating: EffectMean


class ComponentAttributions(Result):
    """Means lie in the tables as sums; this says of what they are sums."""

    SCHEMA: ClassVar[str] = "radiograph.attributions/1"

    model: str
    model_sha256: str
    decomposition: str
    decomposition_sha256: str
    sizes: dict[str, int]
    """Components of each decomposed weight, in forward order."""
    targets: int
    """Components that effects were measured on."""
    harvest: str | None
    harvest_seal: str | None
    tokens: int
    """Over which effects are means."""
    documents: int
    texts: int
    """Windows of text, over which the errors of these means are."""
    readers: int
    """Random directions beside the components of every matrix that is read."""
    shards: int
    width: int
    """Of the residual stream."""
    pairs: int
    """Components with an effect on another one."""
    apart: dict[str, int]
    """How many of them have an interval without 0, by variant: signed, abs, modulating."""
    above_readers: dict[str, int]
    """How many are larger than the same source's effect on every random reader."""
    connected: tuple[tuple[str, str], ...]
    """Weights with an effect on a later one: found, not looked up."""
    strongest: tuple[ShownEffect, ...]
    data: dict[str, str]
    spec_sha256: str
    seed: int
    notes: tuple[str, ...] = ()

    @property
    def headline(self) -> str:
        """How many effects, over how many tokens."""
        return f"{self.pairs:,} direct effects on {self.targets:,} components, means over {self.tokens:,} tokens"

    @property
    def exit_code(self) -> ExitCode:
        """Where nothing acts on anything, nothing was measured."""
        return ExitCode.PASS if self.tokens and self.targets else ExitCode.NOT_MEASURED

    @property
    def lines(self) -> tuple[str, ...]:
        """What a reader should not overlook."""
        n, floor = self.above_readers.get("signed", 0), self.pairs / (1 + self.readers)
        above = f"{n:,} of {self.pairs:,} exceed the same source's effects on {self.readers} random readers"
        return (f"{above}; by chance {floor:,.0f} would", *self.notes)
