"""`radiograph.clusters/1`: components that are active together, how stable the groups are, and what chance gives."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from radiograph.core import ExitCode
from radiograph.evidence._record import Record, Result


class ComponentGroup(Record):
    """Components of one group, by address."""

    name: str
    """Its lowest member."""
    members: tuple[str, ...]
    weights: tuple[str, ...]
    rate: float = Field(ge=0, le=1)
    """Share of the rows on which any of them is active."""
    stability: float | None = Field(default=None, ge=0, le=1)
    """Mean over the other runs of the largest Jaccard overlap with one of their groups; None: there was one run."""
    stability_chance: float | None = Field(default=None, ge=0, le=1)
    """The same with the members of the other runs permuted."""


class Spread(Record):
    """Of some numbers."""

    mean: float
    low: float
    high: float
    n: int


class ComponentClusters(Result):
    """Groups found on all rows, and an ensemble on rows drawn anew."""

    SCHEMA: ClassVar[str] = "radiograph.clusters/1"

    harvest: str
    harvest_seal: str
    decomposition_sha256: str
    model_sha256: str
    rows: int
    texts: int
    """Groups of texts, which the ensemble draws anew."""
    considered: int
    """Components that are active often enough."""
    dropped: int
    active: float
    least_rate: float
    alpha: float
    choice: Literal["greedy", "range", "sample"]
    level: float
    until: str
    runs: int
    mdl_start: float
    mdl_end: float
    merges: int
    groups: tuple[ComponentGroup, ...]
    """Of more than one member, the largest first."""
    distance: Spread | None = None
    """Hamming distance between runs after relabelling; 0 is the same grouping."""
    distance_chance: Spread | None = None
    """Between groupings of these sizes with members permuted."""
    null_merges: tuple[int, ...] = ()
    """Merges by this rule where each component's texts stand in an order of their own, each turned round."""
    null_merges_published: tuple[int, ...] = ()
    """The same by description length alone."""
    null_distance: Spread | None = None
    """Distance between the groupings of shuffled activity."""
    notes: tuple[str, ...] = ()

    @property
    def headline(self) -> str:
        """How many groups, and how stable."""
        held = sum(len(group.members) for group in self.groups)
        text = f"{len(self.groups)} groups hold {held} of {self.considered:,} components"
        if self.distance is not None and self.distance_chance is not None:
            text += f"; runs differ on {self.distance.mean:.0%}, chance {self.distance_chance.mean:.0%}"
        return text

    @property
    def exit_code(self) -> ExitCode:
        """Nothing to group is no result."""
        return ExitCode.PASS if self.considered > 1 else ExitCode.NOT_MEASURED

    @property
    def lines(self) -> tuple[str, ...]:
        """What a reader should not overlook."""
        return self.notes
