"""Records of `blame --screen`: `radiograph.blame_screen/1`."""

from __future__ import annotations

from typing import ClassVar, Final

from pydantic import Field

from radiograph.evidence._record import Record, Result
from radiograph.evidence._statistics import Estimate
from radiograph.evidence.probes.probe import ProbeKind, ProbeNormalise, ProbePool, ProbeStatus

UNTRAINED: Final = "nothing was trained: the order says what the answers are like, not what training on them does"
STRONG: Final = 2.0
"""A row stands out whose score is larger than this many times what random directions give it."""


class ScreenProbe(Record):
    """What rows were ranked by."""

    name: str
    kind: ProbeKind
    status: ProbeStatus
    site: str
    pool: ProbePool | None = None
    """How a text becomes one row; None: the mean over the scores of its tokens."""
    normalise: ProbeNormalise
    weights_sha256: str
    auroc: tuple[float, float] | None = None
    """Interval, of its card."""


class ScreenNull(Record):
    """The same rows along random directions that vary over the reference's own answers as much as the probe's does."""

    draws: int
    mean: tuple[float, float]
    """Of the mean score along them, the 2.5 and 97.5 % points."""
    p: float
    """How often the mean along one of them is at least as far from 0 as along the probe, itself counted in."""
    spread: tuple[float, float]
    """The same points of the standard deviation of scores over rows."""
    spread_p: float
    """How often scores spread at least as far."""
    strong: float
    """The 95 % point of the number of rows that stand out."""
    strong_p: float
    """How often at least as many stand out."""


class ScreenedRow(Record):
    """One row."""

    row: int
    """Place among the rows of the file, from 0."""
    line: int
    id: str | None = None
    row_sha256: str
    text: str
    """Parsed whole, then shortened for display."""
    said: str
    """What the reference answers itself, shortened."""
    answer: float
    """What the probe reads of the row's answer, in its unit."""
    reference: float
    """The same of the reference's own answer."""
    score: float
    """answer − reference."""
    z: float
    """score in units of its root mean square along random directions; 0 where both answers are the same."""
    tokens: int
    """Of the answer, without those that the template closes it with."""
    reference_tokens: int


class UnscreenedRow(Record):
    """A line that has no score."""

    line: int
    why: str


class BlameScreen(Result):
    """Rows in order of how far their answers lie from the reference's own along a probe, before anything is trained."""

    SCHEMA: ClassVar[str] = "radiograph.blame_screen/1"

    reference: str
    data: str
    data_sha256: str
    probe: ScreenProbe
    rows: int
    rows_scored: int
    different: int
    """Of those scored; equal ones count once below."""
    prompts: int
    """Different ones; the reference answers each once."""
    same: int
    """Different rows whose answer is what the reference says itself: they score exactly 0."""
    unscored: tuple[UnscreenedRow, ...] = ()
    """The first hundred. All: tables/unscored."""
    unscored_count: int = 0
    why: dict[str, int] = Field(default_factory=dict)
    """Unscored lines by reason."""
    truncated: int = 0
    """Rows longer than the context, which lost their end."""
    cut: int = 0
    """Answers of the reference that were stopped at the longest length."""
    mean: Estimate
    """Score over different rows; its interval goes over prompts, and is absent where there is one prompt."""
    spread: float
    """Standard deviation of the score over different rows."""
    strong: int
    """Different rows with z above 2."""
    null: ScreenNull
    top: tuple[ScreenedRow, ...]
    stamps: tuple[str, ...] = ()

    @property
    def headline(self) -> str:
        """The leading row, and how far all rows lie from the reference."""
        first, mean = self.top[0], self.mean
        ends = "" if mean.low is None or mean.high is None else f" [{mean.low:.3g}, {mean.high:.3g}]"
        return (
            f"line {first.line} leads {self.rows_scored} rows by {self.probe.name} at {self.probe.site} "
            f"({first.score:+.3g}, z {first.z:+.2g}); answers lie {mean.value:+.3g}{ends} from the reference's own, "
            f"p {self.null.p:.2g} among random directions"
        )

    @property
    def lines(self) -> tuple[str, ...]:
        """The leading rows."""
        shown = tuple(f"{r.score:+.3g}  line {r.line}: {' '.join(r.text.split())[:100]}" for r in self.top[:5])
        missing = tuple(f"not scored: {count} ({why})" for why, count in self.why.items())
        return (*shown, *missing, *(f"stamp: {stamp}" for stamp in self.stamps))
