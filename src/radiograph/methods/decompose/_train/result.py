"""What `decompose train` leaves as evidence."""

from __future__ import annotations

from typing import ClassVar

from radiograph.core import ExitCode
from radiograph.evidence import Estimate, Record, Result


class WeightFound(Record):
    """One decomposed weight, over positions that no step saw."""

    address: str
    components: int
    alive: int
    """Components that fire somewhere."""
    l0: float
    """Components that fire at a position, mean."""
    faithfulness: float
    """‖Δ‖² / ‖W‖²."""


class UnderMasks(Record):
    """What is left of the target under one kind of masks; intervals resample documents."""

    condition: str
    distance: Estimate
    """KL in nats per position, or mean squared error."""
    ce_difference: Estimate | None = None
    """Cross-entropy above the target's, nats per position."""
    unrecovered: Estimate | None = None
    """(CE − CE of the target) / (CE under zero masks − CE of the target); of vectors, the share of squared error."""


class Adversarial(Record):
    """The worst of one r for a whole held-out batch."""

    value: float
    best_random: float
    mean_random: float
    over_random: float | None
    """Value over the mean of random masks."""
    steps: str
    draws: int
    freedom: int
    rows: int


class Recovered(Record):
    """One weight of a toy against its truth. Chance stands beside every number that has one."""

    address: str
    parts: int
    fewest: int
    """Less than `parts` where the number is not identified."""
    pattern: str
    live: int
    errors: int
    errors_loose: int
    exact: bool
    live_start: int | None
    errors_start: int | None
    cosine: float | None = None
    cosine_worst: float | None = None
    ratio: float | None = None
    ratio_worst: float | None = None
    mmcs: float | None = None
    """Best-cosine matching, among the components live on a feature."""
    mmcs_start: float | None = None
    mmcs_random: float | None = None
    ml2r: float | None = None
    ml2r_start: float | None = None
    ml2r_random: float | None = None


class CurvePoint(Record):
    """An evaluation on held-out batches."""

    step: int
    total: float
    losses: dict[str, float]
    active: float


class Restart(Record):
    """One training of several."""

    seed: int
    held_out: float
    kept: bool


class DecompositionTraining(Result):
    """What was decomposed, and how good it is."""

    SCHEMA: ClassVar[str] = "radiograph.decompose_training/1"

    target: str
    target_sha256: str
    sha256: str
    """Of the decomposition."""
    preset: str | None
    importance: str
    start: str
    steps: int
    batch: int
    losses: dict[str, dict[str, float | int | str]]
    seed: int
    components: int
    alive: int
    l0: float
    threshold: float
    """Importance above which a component fires."""
    positions: int
    """Held-out positions that were looked at."""
    documents: int
    weights: tuple[WeightFound, ...]
    masks: tuple[UnderMasks, ...]
    adversarial: Adversarial
    recovered: tuple[Recovered, ...] = ()
    random_decompositions: int = 0
    restarts: tuple[Restart, ...]
    curve: tuple[CurvePoint, ...]
    importance_beats_zero: bool
    """Whether importance masks are better than zero masks."""

    @property
    def headline(self) -> str:
        """Components, how many a position needs, and what is lost."""
        text = f"{self.components} components of {len(self.weights)} weights: {self.alive} alive"
        text += f", {self.l0:.1f} at a position"
        if self.recovered:
            exact = sum(r.exact for r in self.recovered)
            counts = ", ".join(f"{r.address} {r.live} of {r.parts}" for r in self.recovered)
            text += f"; {exact} of {len(self.recovered)} weights exact ({counts})"
        own = next(m for m in self.masks if m.condition == "importance")
        if own.unrecovered is not None:
            text += f"; {own.unrecovered.value:.3f} of the loss unrecovered under importance masks"
        if not self.importance_beats_zero:
            text += "; no better than zero masks"
        return text

    @property
    def exit_code(self) -> ExitCode:
        """2 if importance masks are no better than zero masks."""
        return ExitCode.PASS if self.importance_beats_zero else ExitCode.GATE_FAILED
