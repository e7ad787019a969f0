"""`radiograph.interference/1`: what each adapter does to the tasks of the others."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from radiograph.core import ExitCode
from radiograph.evidence import RefusalRecord, Result
from radiograph.evidence._record import Record

InterferenceBand = Literal["OK", "MINOR", "MAJOR", "HELPS", "INCONCLUSIVE", "NOT-MEASURED"]
Combine = Literal["given", "joint", "linear", "svd", "ties", "dare_ties"]
Bounds = tuple[float, float]


class InterferenceAdapter(Record):
    """One adapter, and what it does alone on its own data."""

    name: str
    ref: str | None = None
    sha256: str | None = None
    rank: int | None = None
    modules: int | None = None
    data: str | None = None
    data_sha256: str | None = None
    rows: int | None = None
    groups: int | None = None
    truncated: int | None = None
    """Rows cut at the model's context."""
    loss: float
    """With this adapter alone; nats a token where it was measured here."""
    base_loss: float | None = None
    gain: float | None = None
    """By how much a token's loss falls from the base."""
    gain_interval: Bounds | None = None
    inert: bool | None = None
    """It is not shown to be better than the base on its own data."""


class AdapterOverlap(Record):
    """What two changes have in common. Descriptive: it measures no harm."""

    modules: int
    """Matrices that both change."""
    cosine: float | None
    columns: float | None
    columns_chance: float | None
    rows: float | None
    rows_chance: float | None
    conflict: float | None
    """Share of opposite signs among the entries large in both; half by chance."""
    conflict_n: int
    shift_cosine: float | None = None
    """Of the mean shifts of activations, on the target's data."""
    shift_overlap: float | None = None
    shift_chance: float | None = None
    shift_tokens: int | None = None
    moved_target: int | None = None
    """Features of the dictionary that the target's adapter moves (q < .05) on its own data."""
    moved_added: int | None = None
    """Features that the other one moves there."""
    moved_both: int | None = None
    moved_chance: float | None = None
    """Of both if they moved independently of each other."""


class InterferenceCell(Record):
    """What adding one adapter does on the data of another."""

    target: str
    added: str
    score: float | None
    interval: Bounds | None
    n: int | None
    """Rows."""
    loss: float | None
    """With both."""
    band: InterferenceBand
    reason: str | None = None
    """Why there is no band."""
    repeats: tuple[float, ...] = ()
    """Scores of single seeds, where the merge draws at random."""
    overlap: AdapterOverlap | None = None


class WorstPair(Record):
    """The largest harm."""

    target: str
    added: str
    score: float
    band: InterferenceBand


class OverlapRank(Record):
    """Spearman's correlation of the mean score of a pair with what its changes have in common."""

    measure: str
    rho: float
    pairs: int


class Interference(Result):
    """What `probe interference` found."""

    SCHEMA: ClassVar[str] = "radiograph.interference/1"

    mode: Literal["losses", "measured"]
    source: str
    """The file of losses, or the base."""
    combine: Combine
    density: float | None = None
    unit: str
    adapters: tuple[InterferenceAdapter, ...]
    cells: tuple[InterferenceCell, ...]
    """Targets in order, for each all others in order."""
    worst_pair: WorstPair | None
    bands: dict[InterferenceBand, int]
    site: str | None = None
    """Where shifts of activations were read."""
    dictionary: str | None = None
    """Whose moved features are counted, and where it reads."""
    ranks: tuple[OverlapRank, ...] = ()
    evaluations: dict[str, int] = Field(default_factory=dict[str, int])
    """How many were run, and how many were known."""
    seed: int = 0
    resamples: int = 0
    allow_missing: bool
    stamps: tuple[str, ...]
    notes: tuple[str, ...]
    not_measured: tuple[RefusalRecord, ...]

    @property
    def headline(self) -> str:
        """How many pairs, and the worst."""
        from radiograph.core import visible

        worst = self.worst_pair
        many = f"{len(self.cells)} pairs of {len(self.adapters)} adapters"
        said = "none is harmed"
        if worst is not None:
            said = (
                f"worst: {visible(worst.added, 40)!r} changes the loss on {visible(worst.target, 40)!r} by "
                f"{worst.score:+.1%} ({worst.band})"
            )
        elif not any(cell.score is not None for cell in self.cells):
            said = "none measured"
        gaps = [f"{self.bands[b]} {b}" for b in ("MAJOR", "INCONCLUSIVE", "NOT-MEASURED") if self.bands.get(b)]
        return f"{many}; {said}" + (f"; {', '.join(gaps)}" if gaps else "")

    @property
    def exit_code(self) -> ExitCode:
        """2 on any MAJOR, else 4 if a pair is missing or inconclusive and that was not allowed, else 0."""
        found = {cell.band for cell in self.cells}
        if "MAJOR" in found:
            return ExitCode.GATE_FAILED
        doubt = bool(found & {"INCONCLUSIVE", "NOT-MEASURED"})
        return ExitCode.NOT_MEASURED if doubt and not self.allow_missing else ExitCode.PASS
