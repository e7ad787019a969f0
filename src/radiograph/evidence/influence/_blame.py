"""Records of `blame`."""

from __future__ import annotations

from typing import ClassVar, Final, Literal

from pydantic import Field

from radiograph.core import ExitCode
from radiograph.evidence._record import Record, Result

UNCHECKED: Final = "gradient evidence, not checked by retraining"
Method = Literal["datainf", "dot", "cosine", "tracin", "ekfac"]
TargetKind = Literal["completion", "rows", "probe", "feature"]


class BehaviourRecord(Record):
    """What is asked about, and whether it is there."""

    kind: TargetKind
    read: str | None = None
    """Of a probe or a feature: which, and where; f is then its mean value over the tokens of a text."""
    n: int
    """Different ones."""
    given: int
    """As they stand in the file, repeats included."""
    f_reference: float
    """Mean of f over targets, in nats, or in the unit of what is read."""
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

    @property
    def unit(self) -> str:
        """Of f, to stand behind a number."""
        return "" if self.read is not None else " nats"


class Learnt(Record):
    """Whether the rows look trained on."""

    n: int
    """Different rows."""
    drop: float
    """Mean over rows of loss(reference) − loss(candidate), nats a token."""
    interval: tuple[float, float]


class PointRecord(Record):
    """Where gradients were taken: REF + at·(CAND − REF)."""

    at: float
    end: float | None = None
    """Spearman of dot products there with those at the end, over `rows` rows; None at the end itself."""
    rows: int


class GroupRecord(Record):
    """Targets that are scored together; their completions are alike."""

    n: int
    length: float
    """‖v‖, which relative scores are divided by."""
    example: str
    """What one of them asks, and the completion."""


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
    """Above 0: training on it raised f, mean over all targets."""
    interval: tuple[float, float] | None = None
    """Of the score over groups of targets; None for a single target."""
    relative: float
    """The largest over groups of targets of score/(‖v‖√⟨g, H⁻¹g⟩): small for rows that are loud for any target."""
    group: int
    """The group of targets that gives it."""
    others: tuple[float, float]
    """Least and mean of the same over groups."""
    rank: dict[str, int]
    """By each method, and by what needs no gradients: words, reference loss, drop, gradient norm."""
    loss: float
    """The candidate's, nats a token."""
    drop: float
    weights: dict[str, float] = Field(default_factory=dict)
    """Matrices with the largest parts of the score."""
    tokens: tuple[tuple[str, float], ...] = ()
    """The row's tokens with their parts of the score; 0 where nothing is learned."""
    more_tokens: int = 0
    """Further ones, which are not shown."""
    more_score: float = 0.0
    """Their part of the score."""


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
    """Leaving the top k out lowers f, and by more than any random draw does; None where the recipe does not give the
    candidate again."""
    recall: dict[str, float] = Field(default_factory=dict)
    """self-check: share of the planted rows among the first k, by method."""
    recall_intervals: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """Wilson's, of that share over the planted rows."""
    chance: float | None = None
    """self-check: the recall of a random order; leave-out: how often a random order would be called causal."""
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
    rank: Literal["relative", "score"]
    """By its relative score, largest over groups of targets, or by the mean over all."""
    point: PointRecord
    methods: tuple[Method, ...]
    rows: int
    rows_scored: int
    unscored: tuple[int, ...] = ()
    """Lines without a token to learn, or left out to fit the budget; the first hundred. All: tables/unscored."""
    unscored_count: int = 0
    truncated: int = 0
    """Rows longer than the context, which lost their end."""
    loss: Literal["sum", "mean"]
    loss_weights: tuple[float, float] | None = None
    """Of the tokens of plain text, and of prompts, as the recipe has them; None without one: 1 and 0."""
    target: BehaviourRecord
    groups: tuple[GroupRecord, ...]
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
        by = f"relative {first.relative:.3g}" if self.rank == "relative" else f"score {first.score:.3g}"
        said = f"line {first.line} leads {self.rows_scored} rows by {self.method} ({by})"
        check = self.validation
        if check is None:
            return f"{said}; {self._unlearned or UNCHECKED}"
        if check.kind == "leave-out":
            word = "causal" if check.causal else "not told from random rows"
            word = "the recipe does not reproduce the candidate" if check.causal is None else word
            return (
                f"{said}; without the first {check.k} rows f changes by {check.delta_f:.3g}{self.target.unit}: {word}"
            )
        if check.kind == "self-check":
            low, high = check.recall_intervals[self.method]
            return f"{said}; recall of {check.k} planted rows {check.recall[self.method]:.2f} [{low:.2f}, {high:.2f}]"
        estimate, low, high = check.lds[self.method]
        return f"{said}; LDS {estimate:.2f} [{low:.2f}, {high:.2f}] over {check.n} halves"

    @property
    def exit_code(self) -> ExitCode:
        """4 where a validation was asked for and could not be had.

        The planted rows were not learned, or the recipe does not give the candidate again.
        """
        check = self.validation
        open_ = check is not None and check.kind == "leave-out" and check.causal is None
        return ExitCode.NOT_MEASURED if open_ or self._unlearned else ExitCode.PASS

    @property
    def _unlearned(self) -> str | None:
        """Why the self-check says nothing."""
        return next((s.partition(": ")[2] for s in self.stamps if s.startswith("self_check_not_learned")), None)

    @property
    def lines(self) -> tuple[str, ...]:
        """The leading rows."""
        by = [row.relative if self.rank == "relative" else row.score for row in self.top[:5]]
        said = [f"line {row.line}: {' '.join(row.text.split())[:100]}" for row in self.top[:5]]
        shown = tuple(f"{value:+.3g}  {text}" for value, text in zip(by, said, strict=True))
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
