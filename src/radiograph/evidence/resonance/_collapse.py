"""What a write does to generation: rescued and broken texts, controls, decoding baselines."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from radiograph.core import ExitCode
from radiograph.evidence._record import Record, Result
from radiograph.evidence.resonance._units import UnitAttribution


class Rate(Record):
    """A share with its Wilson 95 % interval."""

    value: float
    low: float
    high: float
    n: int


class CollapseControl(Record):
    """Where the tested write stands among controls pushed as hard."""

    kind: Literal["units", "haar", "covariance"]
    condition: str
    n: int
    rank: int
    """1 where no control has as large a net."""
    net: float
    null_low: float | None
    """5 % quantile of the controls' net."""
    null_median: float | None
    null_high: float | None
    p: float | None
    smallest: float
    q: float | None = None
    """Over the units tested."""
    note: str | None = None


class CollapseBand(Record):
    """What matched units do when they are pushed as hard as one condition pushes: shares of pairs."""

    condition: str
    n: int
    """Units."""
    rescued: tuple[float, float, float]
    """5 % quantile, median, 95 % quantile."""
    broken: tuple[float, float, float]
    net: tuple[float, float, float]


class CollapseMaximum(Record):
    """The best over the doses of one target, beside the best over the same doses of each matched unit."""

    target: str
    condition: str | None = None
    """The chosen one of the doses."""
    doses: int
    rescued: int
    """Prompts that some dose rescues."""
    collapsed: int
    """Prompts that are collapsed without a write."""
    net: float
    """Largest net of any dose."""
    n: int
    """Matched units."""
    rescued_median: float
    rescued_high: float
    """95 % quantile of the matched units."""
    rescued_p: float | None
    net_median: float
    net_high: float
    net_p: float | None
    smallest: float
    note: str | None = None

    @property
    def line(self) -> str:
        """In words."""
        own = f"{self.target}: some of {self.doses} doses rescues {self.rescued} of {self.collapsed}"
        beside = f"of {self.n} matched units at the same doses the median rescues {self.rescued_median:g}"
        tested = f"p {self.rescued_p or 1:.3g}; largest net {self.net:+.3f}, p {self.net_p or 1:.3g}"
        return f"{own}; {beside}, {self.note or tested}"


class CollapseRow(Record):
    """One condition against the baseline rows of the same prompts."""

    condition: str
    target: str | None
    dose: float | None
    """In raw numbers, of one write."""
    dose_sd: float | None
    n: int
    not_scored: int
    fine: int
    rescued: int
    broken: int
    collapsed: int
    rescue: Rate | None
    breakage: Rate | None
    net: float
    net_low: float | None
    """Bootstrap over cores; None under 4 cores."""
    net_high: float | None
    identical: float
    """Share of texts equal to the baseline's byte by byte."""
    p: float
    """Exact McNemar, two-sided."""
    p_cores: float
    """Sides exchanged core by core."""
    smallest_cores: float
    q: float | None = None
    """Benjamini-Hochberg over conditions."""
    legacy_rescued: int
    legacy_broken: int
    """By the original's rule."""
    means: dict[str, float | None]
    """Of the texts: score, loop, kl, nll_band, relevance, next_token_entropy; None where none has a number."""


class CollapsePair(Record):
    """A prompt whose text a write rescued or broke."""

    prompt_id: str
    core: str
    condition: str
    outcome: Literal["rescued", "broken"]
    prompt: str
    before: str
    after: str
    kind: str | None
    """Of the collapsed one of the two."""
    loop: str | None
    """Its loop: period, on what, and share."""


class CollapseResult(Result):
    """Rescued and broken texts per condition, with what chance and plain decoding do."""

    SCHEMA: ClassVar[str] = "radiograph.collapse/1"

    source: str
    """The model, or the file of texts."""
    n_prompts: int
    cores: int
    confirmed_on: int | None
    """Cores that p, q and controls use, where the others chose the dose."""
    threshold: float
    roc: float
    """Of the score, held out, on its labels."""
    calibrated: str
    """The labels: `shipped`, or a file."""
    baseline_collapsed: int
    baseline_n: int
    kinds: dict[str, int]
    """Of the collapsed baselines."""
    rows: tuple[CollapseRow, ...]
    chosen: tuple[str, ...]
    """Per target the condition that the choosing cores prefer."""
    controls: tuple[CollapseControl, ...] = ()
    decoding: tuple[CollapseRow, ...] = ()
    """Other ways of decoding, without a write."""
    pairs: tuple[CollapsePair, ...]
    pairs_left_out: int = 0
    attribution: tuple[UnitAttribution, ...] = ()
    by_factor: tuple[dict[str, str | float], ...] = ()
    """Collapsed share of baseline and chosen texts per type and level."""
    baseline_means: dict[str, float | None] = Field(default_factory=dict)
    """Means of the texts without a write, named as in `rows`."""
    band: tuple[CollapseBand, ...] = ()
    """Matched units at every dose."""
    maximum: tuple[CollapseMaximum, ...] = ()
    """Per target with several doses."""
    curve: tuple[tuple[float, float], ...] = ()
    """False alarms and detection of the score."""
    required: bool = False
    met: bool = False
    """Net > 0, McNemar q < .05 and control q < .05 of some chosen condition; where cores are not parted the best of
    several doses is compared with the best of each matched unit."""
    notes: tuple[str, ...] = ()

    @property
    def headline(self) -> str:
        """The best condition, or that there is none; with its null."""
        base = f"{self.baseline_collapsed} of {self.baseline_n} texts without a write are collapsed"
        best = self.best
        if best is None:
            return f"{base}; no condition to compare"
        verdict = "no rescue" if not self.met else "a rescue that matched units do not give"
        if best.net < 0:
            verdict += ", more texts broken than rescued"
        return (
            f"{verdict}: {best.condition}: {best.rescued} rescued, {best.broken} broken of {best.n}, "
            f"McNemar p {best.p:.3g}, q {best.q if best.q is not None else 1:.3g}; {self._beside(best)}; {base}"
        )

    def _beside(self, best: CollapseRow) -> str:
        """What matched units say of the best condition: at its dose, or where that was chosen on these very prompts at
        the best dose of each.
        """
        control = next((c for c in self.controls if c.condition == best.condition and c.kind == "units"), None)
        if control is None:
            return "no controls"
        most = next((m for m in self.maximum if m.condition == best.condition), None)
        if self.confirmed_on is None and most is not None:
            said = f"p {most.net_p:.3g}" if most.net_p is not None else most.note
            return f"beside the best of {most.doses} doses of each of {most.n} matched units, {said}"
        said = f"p {control.p:.3g}" if control.p is not None else control.note
        return f"rank {control.rank} among {control.n} matched units, {said}"

    @property
    def best(self) -> CollapseRow | None:
        """The chosen condition with the largest net, else the first row."""
        chosen = [row for row in self.rows if row.condition in self.chosen]
        return max(chosen, key=lambda row: row.net, default=None)

    @property
    def lines(self) -> tuple[str, ...]:
        """Rescued by some dose, beside controls; best plain decoding; the notes."""
        best = max(self.decoding, key=lambda row: row.net, default=None)
        plain = [] if best is None else [f"best decoding without a write: {best.condition}, net {best.net:+.3f}"]
        return (*(one.line for one in self.maximum), *plain, *self.notes)

    @property
    def exit_code(self) -> ExitCode:
        """The gate fails where a rescue is required and not shown. Not measured where controls were asked for and are
        too few for a p, or where one core makes every claim.
        """
        if self.required and not self.met:
            return ExitCode.GATE_FAILED
        few = any(control.p is None for control in self.controls if control.kind == "units")
        alone = bool(self.rows) and 1 in (self.confirmed_on, self.cores)
        return ExitCode.NOT_MEASURED if few or alone else ExitCode.PASS
