"""Records of `blame`."""

from __future__ import annotations

from typing import ClassVar, Final, Literal

from pydantic import Field

from radiograph.core import ExitCode
from radiograph.evidence._record import Record, Result

UNCHECKED: Final = "gradient evidence, not checked by retraining"
Method = Literal["datainf", "dot", "cosine", "tracin", "ekfac"]


class BehaviourRecord(Record):
    """What is asked about, and whether it is there."""

    kind: Literal["completion", "rows"]
    n: int
    f_reference: float
    """Mean of f over targets, in nats."""
    f_candidate: float
    gain: float
    """Mean of f(candidate) − f(reference)."""
    standard_error: float | None = None
    """Of the gain, over targets; None for a single one."""
    preferred: int | None = None
    """Targets whose completion the candidate finds likelier than the rival; None where there are no rivals."""
    rival: Literal["foil", "greedy", "foil or greedy"] | None = None
    """A foil, or what the reference answers."""
    groups: int = 1
    """Groups of targets that intervals of scores go over."""


class Learnt(Record):
    """Whether the rows look trained on."""

    n: int
    """Different rows."""
    drop: float
    """Mean over rows of loss(reference) − loss(candidate), nats a token."""
    interval: tuple[float, float]


class ProjectionRecord(Record):
    """Gradients were stored smaller than they are."""

    entries: int
    """Kept of each row."""
    of: int
    spearman: float
    """Exact against projected dot products, over `rows` rows."""
    rows: int


class BlamedRow(Record):
    """One row."""

    row: int
    """Place among the rows of the file, from 0."""
    line: int
    id: str | None = None
    row_sha256: str
    shard: int = 0
    """Of the gradients, which stand in an order of their own."""
    text: str
    """Parsed whole, then shortened for display."""
    score: float
    """Above 0: training on it raised f."""
    interval: tuple[float, float] | None = None
    """Of the score over groups of targets; None for a single target."""
    relative: float | None = None
    """score/√⟨g, H⁻¹g⟩: smaller for rows that are loud for any target."""
    rank: dict[str, int]
    """By each method, and by what needs no gradients: words, reference loss, drop, gradient norm."""
    loss: float
    """The candidate's, nats a token."""
    drop: float
    weights: dict[str, float] = Field(default_factory=dict)
    """Matrices with the largest parts of the score."""
    tokens: tuple[tuple[str, float], ...] = ()
    """The row's tokens with their parts of the score; 0 where nothing is learned."""


class BlameValidation(Record):
    """What retraining says."""

    kind: Literal["self-check", "leave-out", "lds"]
    n: int
    """Models trained."""
    k: int | None = None
    """Rows added or left out."""
    reproduced: float | None = None
    """f of a copy trained on all rows, less that of the candidate."""
    delta_f: float | None = None
    """leave-out: change of f without the top k."""
    random: tuple[float, ...] = ()
    """The same without k random rows."""
    words: float | None = None
    """The same without the k rows that share most words with the targets."""
    causal: bool | None = None
    """Leaving the top k out lowers f by more than any random draw does."""
    recall: dict[str, float] = Field(default_factory=dict)
    """self-check: share of the planted rows among the first k, by method."""
    chance: float | None = None
    """The recall of a random order."""
    gate: tuple[int, int] | None = None
    """self-check: fresh prompts that show the planted behaviour, of how many."""
    lds: dict[str, tuple[float, float, float]] = Field(default_factory=dict)
    """By method: mean Spearman over targets, and its interval."""


class Blame(Result):
    """Rows in order of how much they raised f."""

    SCHEMA: ClassVar[str] = "radiograph.blame/1"

    reference: str
    candidate: str
    data: str
    data_sha256: str
    method: Method
    """That rows are ordered by."""
    methods: tuple[Method, ...]
    rows: int
    rows_scored: int
    unscored: tuple[int, ...] = ()
    """Lines without a token to learn, or left out to fit the budget; the first hundred."""
    truncated: int = 0
    """Rows longer than the context, which lost their end."""
    loss: Literal["sum", "mean"]
    target: BehaviourRecord
    learnt: Learnt
    matrices: int
    weights: tuple[str, ...]
    """Addresses of the matrices, the first hundred."""
    patterns: tuple[str, ...] = ()
    """As they were asked for; none takes all."""
    entries: int
    """Of a row's gradient, as it was kept."""
    projection: ProjectionRecord | None = None
    top: tuple[BlamedRow, ...]
    token_gap: float | None = None
    """Largest distance between a row's score and the sum of its tokens, as a share of the largest score."""
    agreement: dict[str, float] = Field(default_factory=dict)
    """Spearman of each other order of rows with that of the method."""
    validation: BlameValidation | None = None
    stamps: tuple[str, ...] = ()

    @property
    def headline(self) -> str:
        """The leading row, and what stands behind it."""
        if not self.top:
            return f"no row of {self.rows} could be scored"
        first = self.top[0]
        said = f"line {first.line} leads {self.rows_scored} rows by {self.method} (score {first.score:.3g})"
        check = self.validation
        if check is None:
            return f"{said}; {UNCHECKED}"
        if check.kind == "leave-out":
            word = "causal" if check.causal else "not told from random rows"
            return f"{said}; without the first {check.k} rows f changes by {check.delta_f:.3g} nats: {word}"
        if check.kind == "self-check":
            return f"{said}; recall of {check.k} planted rows {check.recall[self.method]:.2f}"
        estimate, low, high = check.lds[self.method]
        return f"{said}; LDS {estimate:.2f} [{low:.2f}, {high:.2f}] over {check.n} halves"

    @property
    def lines(self) -> tuple[str, ...]:
        """The leading rows."""
        shown = tuple(f"{row.score:+.3g}  line {row.line}: {' '.join(row.text.split())[:100]}" for row in self.top[:5])
        return (*shown, *(f"stamp: {stamp}" for stamp in self.stamps))


class BlamePlan(Result):
    """What a run would cost, from rows that were timed."""

    SCHEMA: ClassVar[str] = "radiograph.blame_plan/1"

    rows: int
    timed: int
    entries: int
    rows_per_second: float
    disk_bytes: int
    memory_bytes: int
    """Of gradients, besides the model."""
    hours: dict[str, float]
    """By method."""
    budget_hours: float

    @property
    def total(self) -> float:
        """Hours of all that was asked for."""
        return sum(self.hours.values())

    @property
    def headline(self) -> str:
        """Time, disk, rate."""
        return (
            f"{self.rows:,} rows at {self.rows_per_second:.3g} rows/s: {self.total:.3g} of {self.budget_hours:.3g} h, "
            f"{self.disk_bytes / 1e9:.3g} GB on disk"
        )

    @property
    def exit_code(self) -> ExitCode:
        """A plan is not a measurement, and was asked for."""
        return ExitCode.PASS
