"""`radiograph.attributions/1`: direct effects over data, of what on what, and over how many tokens."""

from __future__ import annotations

from typing import ClassVar

from radiograph.core import ExitCode
from radiograph.evidence._record import Record, Result


class ShownEffect(Record):
    """One strong effect."""

    source: str
    target: str
    signed: float
    abs: float
    modulating: float


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
    shards: int
    width: int
    """Of the residual stream."""
    pairs: int
    """Components with an effect on another one."""
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
        return self.notes
