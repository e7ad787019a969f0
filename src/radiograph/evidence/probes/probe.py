"""Linear probes: the card of one, what building and applying it found, and packs of several."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from radiograph.core import ExitCode
from radiograph.evidence._record import Document, Record, RefusalRecord, Result
from radiograph.evidence._statistics import Estimate

ProbeKind = Literal["defection", "truth", "harm", "custom"]
PackedKind = Literal["defection", "truth", "harm", "custom", "sae"]
ProbeStatus = Literal["calibrated", "uncalibrated"]
ProbeLevel = Literal["token", "sequence"]
ProbePool = Literal["mean", "max", "last"]
ProbeNormalise = Literal["rms", "none"]
ProbeMethod = Literal["mean_difference", "logistic", "lda", "whitened", "fixed"]
ProbeBand = Literal["OK", "MINOR", "MAJOR", "INCONCLUSIVE", "NOT-MEASURED"]
Ends = tuple[float, float]


class ProbeModel(Record):
    """The model that a probe belongs to."""

    ref: str
    sha256: str | None
    """Of its tensors; None where the rows of a store do not say."""
    tokenizer_sha256: str | None = None


class ProbeGroups(Record):
    """Groups of each part, whatever their labels."""

    fit: int
    calibrate: int
    test: int


class ProbeCounts(Record):
    """Rows of the test part."""

    positive: int
    negative: int
    """Clean text included."""
    near_miss: int = 0
    clean: int = 0


class ProbeData(Record):
    """What a probe was made of."""

    contrast: str
    sha256: str
    negatives: str | None = None
    negatives_sha256: str | None = None
    groups: ProbeGroups
    n_test: ProbeCounts
    n_calibrate: int
    """Negatives that the threshold is the quantile of."""
    groups_calibrate: int | None = None
    """Groups that they come from."""


class ProbeAuroc(Record):
    """On the test part, contrast rows alone; clean text is no part of it."""

    estimate: float
    interval: Ends
    near_miss: Ends | None = None
    """Interval against near misses alone."""


class ProbeFpr(Record):
    """Negatives of the test part that are flagged."""

    target: float
    estimate: float
    interval: Ends
    rho: float
    """Correlation of the flags of one group."""
    flagged: int
    n: int
    effective: float


class ProbeTpr(Record):
    """Positives of the test part that are flagged."""

    estimate: float
    interval: Ends


class ProbeControls(Record):
    """What knows nothing, or reads the surface. None: not measured."""

    shuffled_q95: float
    """95 % point of the test AUROC on permuted labels, site and method chosen anew each time."""
    shuffled_search_q95: float
    """The same of the AUROC by which the choice is made."""
    search: float
    """That AUROC on the true labels."""
    search_p: float
    draws: int
    random_q95: float
    """Of random directions with the covariance of clean text."""
    words: float | None
    length: float | None
    embed: float | None
    """The same probe on the embedding."""


class ProbeTried(Record):
    """How much was looked at before the choice."""

    sites: int
    methods: int
    folds: int


class ProbeCard(Document):
    """Everything about a probe but its numbers: `NAME.json` beside `NAME.safetensors`."""

    SCHEMA: ClassVar[str] = "radiograph.probe/1"

    name: str
    kind: ProbeKind
    status: ProbeStatus
    failing: tuple[str, ...] = ()
    """Conditions of `calibrated` that are not met."""
    stamps: tuple[str, ...] = ()
    level: ProbeLevel
    pool: ProbePool | None
    normalise: ProbeNormalise
    method: ProbeMethod
    strength: float | None = None
    site: str
    d: int
    model: ProbeModel
    weights_sha256: str
    data: ProbeData
    auroc: ProbeAuroc
    fpr: ProbeFpr
    tpr: ProbeTpr
    controls: ProbeControls
    tried: ProbeTried
    seed: int
    made_by: str


class SiteTried(Record):
    """One candidate of the search."""

    site: str
    method: ProbeMethod
    strength: float | None
    auroc: float
    """Mean over folds inside the fit."""
    error: float
    chosen: bool


class ProbeBuild(Result):
    """A probe that was built, calibrated or not."""

    SCHEMA: ClassVar[str] = "radiograph.probe_build/1"

    card: ProbeCard
    candidates: tuple[SiteTried, ...]
    file: str
    histogram: tuple[tuple[float, float, int, int, int], ...]
    """Test scores in bins: ends, positives, contrast negatives, clean text."""
    threshold: float

    @property
    def headline(self) -> str:
        """Status, AUROC, false positive rate, and what fails."""
        card = self.card
        low, high = card.auroc.interval
        why = f" ({'; '.join(card.failing)})" if card.failing else ""
        area = f"AUROC {card.auroc.estimate:.3f} ({low:.3f} to {high:.3f})"
        rate = f"FPR {card.fpr.estimate:.2%} (at most {card.fpr.interval[1]:.2%}, n = {card.fpr.n})"
        return f"{card.name} at {card.site}: {card.status}{why}, {area}, {rate}"

    @property
    def exit_code(self) -> ExitCode:
        """A probe that is not calibrated gives no band."""
        return ExitCode.PASS if self.card.status == "calibrated" else ExitCode.NOT_MEASURED


class ProbeSupport(Record):
    """Evidence beside the rows that a probe was calibrated on."""

    outside: float
    """Share of rows outside."""
    distance: float
    """Of Kolmogorov and Smirnov, of squared distances."""
    log_variance: float
    mean_off: float
    """Largest mean of an axis, in sd."""
    distinct: int
    broken: str | None
    """The rule that refuses the set."""


class TopRow(Record):
    """One of the rows with the largest scores."""

    row: int
    group: str
    position: int | None
    score: float
    flagged: bool
    outside: bool
    text: str | None
    before: str | None = None
    after: str | None = None


class ReadCounts(Record):
    """Rows of the evidence: tokens, or prompts where the probe reads whole prompts."""

    rows: int
    inside: int
    counted: int
    """Of those inside, equal rows of a group once."""
    flagged: int
    """Of those counted."""
    groups: int
    effective: float


class Paired(Record):
    """The same rows under the reference."""

    reference: str
    difference: float
    """Rate of the target less that of the reference."""
    interval: Ends
    p: float
    """Signs of the groups' differences flipped."""
    draws: int


class Shift(Record):
    """Mean score of the target less that of the reference, in the sd of calibration negatives."""

    value: float
    interval: Ends
    n: int


class Separated(Record):
    """Labelled rows: does the target tell the classes apart, and as well as the reference."""

    target: float
    target_interval: Ends
    reference: float | None
    reference_interval: Ends | None
    difference: float | None
    difference_interval: Ends | None
    positive: int
    negative: int


class ProbeReading(Result):
    """A probe applied to evidence."""

    SCHEMA: ClassVar[str] = "radiograph.probe_reading/1"

    probe: str
    """Name of the probe."""
    kind: ProbeKind
    question: ProbeKind
    """Of the verb."""
    target: str
    base: str
    evidence: str
    status: ProbeStatus
    level: ProbeLevel
    site: str
    weights_sha256: str
    probe_auroc: Ends | None
    """Interval of the AUROC of the card."""
    probe_fpr: Ends | None
    probe_tpr: float | None
    """Share of its test positives that the probe flags: what it misses is not in the rate."""
    stamps: tuple[str, ...]
    counts: ReadCounts
    support: ProbeSupport | None
    threshold: float | None
    card_rho: float | None
    rate: Estimate | None
    worst_case_rate: float | None
    """With rows outside counted as flagged."""
    rho: float | None
    edges: Ends
    band: ProbeBand | None
    """None where there is no band to be had: a trait, or labelled rows."""
    point_band: Literal["OK", "MINOR", "MAJOR"] | None
    rows_needed: int | None
    """Rows with which the same rate would decide."""
    groups_needed: int | None
    """Groups that these rows have to come from: more rows of the same groups decide little."""
    max_score: float
    top: tuple[TopRow, ...]
    histogram: tuple[tuple[float, float, float, float], ...]
    """Score bins: ends, share of the evidence, share of calibration negatives."""
    paired: Paired | None = None
    shift: Shift | None = None
    separated: Separated | None = None
    refusal: RefusalRecord | None = None

    @property
    def headline(self) -> str:
        """The band first, and what it stands on."""
        unit = "tokens" if self.level == "token" else "prompts"
        if self.separated is not None:
            found, low, high = self.separated.target, *self.separated.target_interval
            return f"{self.probe} on {self.target}: AUROC {found:.3f} ({low:.3f} to {high:.3f}) on labelled rows"
        if self.refusal is not None:
            return f"{self.probe} on {self.target}: NOT-MEASURED, {self.refusal.text} [{self.refusal.code}]"
        if self.band is None and self.shift is not None:
            low, high = self.shift.interval
            return f"{self.probe} on {self.target}: shift {self.shift.value:+.2f} sd ({low:+.2f} to {high:+.2f})"
        assert self.rate is not None
        share = f"{self.rate.value:.2%} of {self.counts.counted} {unit} flagged"
        if self.band is None:
            return f"{self.probe} on {self.target}: {share}; a trait has no band"
        more = "" if self.rows_needed is None else f"; about {self.rows_needed} {unit}{self._groups} would decide"
        ends = f"({self.rate.low or 0:.2%} to {self.rate.high or 0:.2%})"
        if self.band in ("OK", "MINOR") and self.probe_tpr is not None:
            more = f"; the probe flags {self.probe_tpr:.0%} of its own positives"
        return f"{self.probe} on {self.target}: {self.band}, {share} {ends}{more}"

    @property
    def _groups(self) -> str:
        """How many groups are needed, where groups are more than their rows."""
        alone = self.groups_needed is None or self.groups_needed == self.rows_needed
        return "" if alone else f" from {self.groups_needed} prompts or documents (here {self.counts.groups})"

    @property
    def exit_code(self) -> ExitCode:
        """MAJOR 2, undecided or not measured 4."""
        if self.band == "MAJOR":
            return ExitCode.GATE_FAILED
        undecided = self.band in ("INCONCLUSIVE", "NOT-MEASURED") or (self.band is None and self.refusal is not None)
        return ExitCode.NOT_MEASURED if undecided else ExitCode.PASS


class PackBase(Record):
    """The model that a pack is for."""

    id: str = Field(min_length=1, max_length=256)
    aliases: tuple[str, ...] = Field(default=(), max_length=16)
    sha256: str | None = None
    hidden_size: int = Field(ge=1, le=65_536)
    layers: int | None = None


class PackedProbe(Record):
    """One entry of a pack."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,128}$")
    kind: PackedKind
    site: str | None = None
    hidden_dim: int = Field(ge=1, le=65_536)
    status: Literal["calibrated", "uncalibrated", "schema_only"]
    file: str | None = None
    sha256: str | None = None
    bytes: int | None = Field(default=None, ge=0, le=512 * 2**20)
    dictionary: str | None = None
    description: str = Field(default="", max_length=4096)


class PackSource(Record):
    """Where the weights of a pack may be fetched from."""

    repo: str
    revision: str
    path: str = ""


class ProbePack(Document):
    """What is known of the probes of one base: `pack.json`."""

    SCHEMA: ClassVar[str] = "radiograph.pack/1"

    base: PackBase
    version: str
    probes: tuple[PackedProbe, ...] = Field(min_length=1, max_length=32)
    source: PackSource | None = None


class PackCheck(Record):
    """One entry that was checked."""

    name: str
    holds: bool
    looked_at: bool = True
    """False: nothing was there to be checked, and `note` says why."""
    note: str | None = None
    problems: tuple[str, ...] = ()
    fpr: float | None = None
    """Computed again from the stored test scores."""
    auroc: float | None = None
    again: bool = False
    """The model was run on the test texts, and gave these scores."""


class PackLine(Record):
    """One base of `--list`."""

    id: str
    aliases: tuple[str, ...]
    hidden_size: int
    calibrated: tuple[str, ...]
    uncalibrated: tuple[str, ...]
    schema_only: tuple[str, ...]
    build: str | None
    """The command that makes what is missing."""


class PackReport(Result):
    """A pack written, checked or fetched, or the packs that are known."""

    SCHEMA: ClassVar[str] = "radiograph.probe_pack/1"

    did: Literal["listed", "written", "checked", "fetched"]
    pack: ProbePack | None = None
    folder: str | None = None
    known: tuple[PackLine, ...] = ()
    checks: tuple[PackCheck, ...] = ()

    @property
    def headline(self) -> str:
        """What was done, and whether it holds."""
        if self.did == "listed":
            real = sum(bool(line.calibrated) for line in self.known)
            return f"{len(self.known)} bases: {real} with calibrated probes, {len(self.known) - real} by name alone"
        assert self.pack is not None
        usable = sum(entry.status == "calibrated" for entry in self.pack.probes)
        what = f"pack of {self.pack.base.id}: {len(self.pack.probes)} entries, {usable} calibrated"
        if self.did != "checked":
            return f"{what}, {self.did}"
        seen = sum(check.looked_at for check in self.checks)
        wrong = [check.name for check in self.checks if check.looked_at and not check.holds]
        unseen = [check.name for check in self.checks if not check.looked_at]
        how = "run again" if any(check.again for check in self.checks) else "from stored scores"
        said = f"does not hold: {', '.join(wrong)}" if wrong else f"{seen} checked, {how}, and hold"
        rest = f"; not checked: {', '.join(unseen)}" if unseen else ""
        return f"{what}; {said if seen else 'nothing to check'}{rest}"

    @property
    def lines(self) -> tuple[str, ...]:
        """One line a base, or a problem."""
        if self.did == "listed":
            return tuple(_line(line) for line in self.known)
        said = ((check.name, (*check.problems, *((check.note,) if check.note else ()))) for check in self.checks)
        return tuple(f"{name}: {text}" for name, texts in said for text in texts)

    @property
    def exit_code(self) -> ExitCode:
        """A pack that does not hold fails; one of which a part is not here is not measured."""
        if any(check.looked_at and not check.holds for check in self.checks):
            return ExitCode.GATE_FAILED
        return ExitCode.PASS if all(check.holds for check in self.checks) else ExitCode.NOT_MEASURED


def _line(line: PackLine) -> str:
    parts = [
        f"{len(names)} {word}: {', '.join(names)}"
        for word, names in (
            ("calibrated", line.calibrated),
            ("uncalibrated", line.uncalibrated),
            ("schema only", line.schema_only),
        )
        if names
    ]
    said = f"{line.id} (width {line.hidden_size}): {'; '.join(parts)}"
    return said if line.build is None else f"{said}; no calibrated weights are known, make them: {line.build}"


def problems_of(document: dict[str, Any]) -> list[str]:
    """What a card lacks to be more than a placeholder: the data's hash, its numbers, its rates."""
    data: Any = document.get("data")
    fpr: Any = document.get("fpr")
    lacking: list[str] = []
    if not _has(data, "sha256"):
        lacking.append("no hash of its data")
    if not _has(data, "n_test"):
        lacking.append("no number of test rows")
    if not _has(fpr, "estimate") or not _has(fpr, "interval"):
        lacking.append("no false positive rate")
    return lacking


def _has(part: Any, key: str) -> bool:
    return isinstance(part, dict) and key in part and part[key] not in (None, "", [], {})
