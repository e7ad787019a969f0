"""What benign fine-tunes of one reference score, and what a candidate's scores mean among them."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from radiograph.evidence._record import Record, Result

Scale = Literal["linear", "log"]
ModelKind = Literal["adapter", "full"]


class Binding(Record):
    """What scores depend on: a calibration speaks for candidates that were measured in the same way."""

    reference_sha256: str
    """Of the reference's tensors."""
    tokenizer_sha256: str
    suite_sha256: str
    neutral_sha256: str
    dictionary_sha256: str | None
    effort: str
    infix: bool
    chat: str
    system: str
    score_method: str
    k: int
    aggregate: str
    reduce: str
    seed: int
    versions: dict[str, int]
    """Of every detector."""
    rows_sha256: str | None = None
    """Of the training rows that every model was asked about."""

    def differences(self, other: Binding) -> tuple[tuple[str, Any, Any], ...]:
        """(what, here, there) of everything that differs. Rows decide nothing where none were asked about here."""
        ours, theirs = self.model_dump(), other.model_dump()
        names = [name for name in ours if name != "rows_sha256" or self.rows_sha256 is not None]
        return tuple((name, ours[name], theirs[name]) for name in names if ours[name] != theirs[name])


class DetectorRule(Record):
    """How a detector's scores are compared."""

    id: str
    scale: Scale
    floor: float
    """Least spread, in the score's own unit; on a logarithmic scale the size below which scores are equal."""
    fitted: bool = False
    frozen: bool
    """Whether it has a say in the combined p."""
    reason: str | None = None
    """Why not."""


class CalibrationModel(Record):
    """One benign fine-tune."""

    id: str
    family: str = ""
    kind: ModelKind
    tensors_sha256: str
    scores: dict[str, float | None]
    """Of the plain detectors."""
    nuisance: dict[str, float]
    flips: tuple[float | None, ...] = ()
    """Contrast of each set of `Calibration.sets`."""
    triggers: dict[str, float] = Field(default_factory=dict)
    """Maxima of the search for insertions."""
    stability: dict[str, float] = Field(default_factory=dict)
    """Agreement between paraphrases and formats."""
    controls: tuple[float, ...] = ()
    """The feature score under random dictionaries."""
    aggregate: float | None = None
    """The feature score."""
    share_outside: float | None = None
    """Of its activation shift, what the dictionary does not see."""


class MissRate(Record):
    """What the benchmark of the detectors found of one family of planted changes."""

    family: str
    n: int
    detected: int
    alpha: float


class Calibration(Result):
    """`calibrate`: scores of benign fine-tunes; arrays of fitted detectors lie in `summaries.safetensors` beside it."""

    SCHEMA: ClassVar[str] = "radiograph.calibration/1"

    binding: Binding
    reference: str
    suite: str
    rules: tuple[DetectorRule, ...]
    combination: Literal["max", "fisher"] = "max"
    sets: tuple[str, ...] = ()
    models: tuple[CalibrationModel, ...]
    degraded: tuple[CalibrationModel, ...] = ()
    """Models that lost abilities, hide nothing, and lie outside the support of the benign ones: with these a candidate
    of that kind is compared. Contrasts and coordinates alone are kept of them."""
    degraded_left_out: dict[str, str] = Field(default_factory=dict)
    """Degraded models that were measured and are none of these, with the reason."""
    summaries: dict[str, str] = Field(default_factory=dict)
    """SHA-256 of the bytes of each fitted detector's array, [model, …] in the order of `models`."""
    n_families: int = 0
    n_effective: float | None = None
    correlation: float | None = None
    """Of combined scores inside families; None, as `n_effective`, where all models are of one."""
    misses: tuple[MissRate, ...] = ()
    fitted: dict[str, tuple[float, ...]] = Field(default_factory=dict)
    """Scores of fitted detectors among the benign models alone, for the page."""

    @property
    def n(self) -> int:
        """Benign models."""
        return len(self.models)

    @property
    def frozen(self) -> tuple[str, ...]:
        """Detectors that count."""
        return tuple(rule.id for rule in self.rules if rule.frozen)

    @property
    def method(self) -> str:
        """How p-values are formed."""
        return f"conformal, {self.combination}"

    @property
    def headline(self) -> str:
        """How many, how small a p can be."""
        kin = f" of {self.n_families} families" if self.n_families else ""
        worth = worth_of(self.n_effective)
        return f"{self.n} benign fine-tunes{kin} ({worth}); no p below {1 / (self.n + 1):.3g}"

    @property
    def lines(self) -> tuple[str, ...]:
        """Which detectors count, and which do not."""
        left = [f"{rule.id} ({rule.reason})" for rule in self.rules if not rule.frozen]
        out = [f"frozen: {', '.join(self.frozen)}", f"combination: {self.combination}"]
        if self.degraded:
            n, kin = len(self.degraded), len({m.family for m in self.degraded if m.family})
            of = f" of {kin} families" if kin else ""
            out.append(f"beside them {n} degraded models{of}; no p among these below {1 / (n + 1):.3g}")
        return (*out, *([f"not frozen: {', '.join(left)}"] if left else []))


class SupportRecord(Record):
    """Is the candidate the kind of fine-tune that the benign models are?"""

    inside: bool
    p: float
    distance: float
    """To the 5th nearest benign model, in robust standard deviations."""
    deviant: tuple[str, ...]
    """The two coordinates that lie farthest out."""
    deviations: dict[str, float]


class StratumRecord(Record):
    """The candidate among benign models that drifted about as far."""

    index: int
    """0: the third that drifted least."""
    n: int
    p: float
    floor: float


class DegradedPlace(Record):
    """The candidate among degraded models."""

    n: int
    p: float
    floor: float
    strength: float
    """The largest difference of rates that its inputs show."""
    leading: str
    """The detector that gives it."""
    others: tuple[float, ...]
    """Strengths of the degraded models."""
    support: SupportRecord


class DetectorPlace(Record):
    """One detector's place among the benign models."""

    id: str
    frozen: bool
    scale: Scale
    score: float
    p: float
    p_stratum: float | None
    rank: int
    z: float
    """Robust deviation from the benign median on the detector's scale."""
    median: float
    low: float
    """5 % quantile of the benign models."""
    high: float
    """95 % quantile."""
    benign: tuple[float, ...]


class StabilityPlace(Record):
    """Agreement between wordings, beside that of benign models."""

    name: str
    value: float
    benign_q05: float
    n: int
    low: bool
    """Below the benign 5 % quantile: formatting drift is not excluded."""


class ControlPlace(Record):
    """Rank of the feature score and of its random controls among benign models."""

    rank: int
    control_rank: float
    """Median over random dictionaries."""
    n: int
    adds: bool
    """The dictionary ranks the candidate above what random directions do."""


def worth_of(n_effective: float | None) -> str:
    """What the models are worth, in words."""
    return "n_effective not estimable: one family" if n_effective is None else f"n_effective {n_effective:.1f}"


class CalibratedAudit(Record):
    """What the calibration says about the candidate."""

    name: str
    sha256: str
    n: int
    n_families: int
    n_effective: float | None
    floor: float
    combination: Literal["max", "fisher"]
    frozen: tuple[str, ...]
    missing: tuple[str, ...] = ()
    """Frozen detectors without a score."""
    p_combined: float | None = None
    statistic: float | None = None
    leading: str | None = None
    stratum: StratumRecord | None = None
    support: SupportRecord | None = None
    degraded: DegradedPlace | None = None
    """Of a calibration that holds degraded models."""
    detectors: tuple[DetectorPlace, ...] = ()
    stability: tuple[StabilityPlace, ...] = ()
    control: ControlPlace | None = None
    nuisance: dict[str, float] = Field(default_factory=dict)
    """The candidate's coordinates before scaling."""
    misses: tuple[MissRate, ...] = ()
