"""`radiograph.feature_shift/1`: which features moved between two sides, and which of them carry the shift."""

from __future__ import annotations

from typing import ClassVar, Literal

from radiograph.core import ExitCode
from radiograph.evidence import RefusalRecord, Requirement, Result
from radiograph.evidence._record import Record

State = Literal["raised", "suppressed", "recruited", "silenced", "unmoved"]
Bounds = tuple[float, float]


class ShiftCounts(Record):
    """How much was looked at."""

    tokens: int
    """Of the reference."""
    tokens_cand: int
    groups: int
    merged: int
    """Groups whose signs were flipped, or which changed sides."""
    clusters: str
    codes: int
    """Tokens a side on which codes were counted."""
    sample: int
    """Tokens a side that were reconstructed."""


class MovedCount(Record):
    """Features below the level of q, and how many a sham finds."""

    level: float
    count: int | None
    sham: int | None
    sham_carried: int | None


class ShiftedFeature(Record):
    """One feature. Values of codes are None where codes were not counted, or where it never fired."""

    feature: int
    name: str | None = None
    """Of a direction."""
    label: str | None = None
    label_source: str | None = None
    state: State
    shift: float
    effect: float | None
    """In standard deviations of the reference's pre-activation."""
    t: float | None
    """None: one group has no spread."""
    p: float | None
    q: float | None
    rate_ref: float | None = None
    rate_cand: float | None = None
    t_rate: float | None = None
    turned_on: int | None = None
    turned_off: int | None = None
    mean_ref: float | None = None
    mean_cand: float | None = None
    delta: float | None = None
    active_ref: float | None = None
    active_cand: float | None = None
    bound: float | None = None
    """Upper bound 3/n of a rate of which nothing was seen."""


class CarriedFeature(Record):
    """A feature whose decoder row carries a part of the shift."""

    feature: int
    name: str | None = None
    label: str | None = None
    label_source: str | None = None
    coefficient: float
    """Length of what is written along the row."""
    interval: Bounds
    share: float
    q: float
    alternatives: tuple[int, ...]
    state: State
    effect: float | None
    rate_ref: float | None
    rate_cand: float | None
    delta: float | None


class Rest(Record):
    """Why the selection stopped."""

    state: Literal["nothing", "noise", "diffuse", "limit"]
    p: float | None
    share: float | None
    """What the next row would have explained of the rest."""
    chance: float
    """What the row nearest to a random direction explains of it."""


class L2(Record):
    """Length of the shift of mean codes."""

    drift: float
    floor_median: float | None
    floor_q95: float | None
    p: float | None
    excess: float | None


class Shares(Record):
    """Shares of the shift of the activations."""

    carried: float | None
    carried_interval: Bounds | None
    seen: float | None
    """By the change of mean codes; may be negative."""
    seen_null: float | None
    """Median under relabelling."""
    outside: float | None
    """Of token shifts, missed by the change of the reconstruction."""
    outside_random: tuple[float, ...]
    """The same for random dictionaries of equal L0."""


class Fvu(Record):
    """Reconstruction on both sides."""

    ref: float
    cand: float
    difference: Bounds
    left_dictionary: bool


class WrittenFeature(Record):
    """A crosscoder's feature: how much it writes on either side."""

    feature: int
    rate: float
    active: float | None
    rho: float
    nu_error: float | None
    nu_reconstruction: float | None
    state: str


class FeatureShift(Result):
    """What `probe sae-diff` found."""

    SCHEMA: ClassVar[str] = "radiograph.feature_shift/1"

    reference: str
    candidate: str
    dictionary: str
    dictionary_sha256: str
    kind: str
    activation: str
    site: str | None
    target: str | None
    n: ShiftCounts
    features: int
    depth: Literal["standard", "full"]
    moved: MovedCount
    carried: tuple[CarriedFeature, ...]
    rest: Rest | None
    shown: tuple[ShiftedFeature, ...]
    """Carried features first, then those that moved most surely."""
    changes: tuple[ShiftedFeature, ...]
    """Those of largest |delta|; empty where codes of all features were not counted."""
    written: tuple[WrittenFeature, ...]
    """Of a crosscoder."""
    l2: L2 | None
    effect_rms: float | None
    activation_drift: float | None
    """None: the rows of the reference do not vary."""
    shares: Shares
    fvu: Fvu | None
    null: tuple[int, ...]
    """Of the relabellings: counts of √T in 80 bins from 0 to 10, and above."""
    largest: float
    """√T of the feature that moved most surely."""
    stamps: tuple[str, ...]
    notes: tuple[str, ...]
    requirements: tuple[Requirement, ...]
    not_measured: tuple[RefusalRecord, ...]

    @property
    def headline(self) -> str:
        """How many carry the shift, and how many merely moved."""
        if self.moved.count is None:
            n = f"n = {self.n.tokens} tokens in {self.n.groups} group{'s' * (self.n.groups != 1)}"
            return f"{self.features} features, too few groups for a test ({n}; 12 or more are needed)"
        moved = (
            f"{self.moved.count} of {self.features} features moved (q < {self.moved.level:g}; sham {self.moved.sham})"
        )
        n = f"n = {self.n.tokens} tokens in {self.n.groups} groups"
        return f"{self._carriers()}; {moved}; {n}"

    def _carriers(self) -> str:
        if self.rest is None:
            return "carriers not measured"
        if self.carried:
            share = f"{self.shares.carried or 0:.1%}"
            more = ", the rest diffuse" if self.rest.state == "diffuse" else ""
            many = f"{len(self.carried)} features carry" if len(self.carried) > 1 else "1 feature carries"
            return f"{many} {share} of the shift{more}"
        words = {"diffuse": "the shift is real but diffuse: no feature stands out", "nothing": "nothing moved"}
        return words.get(self.rest.state, "no feature carries more than noise")

    @property
    def lines(self) -> tuple[str, ...]:
        """Every demand, what was measured, and what would measure it."""
        return tuple(self._demand(one) for one in self.requirements)

    def _demand(self, one: Requirement) -> str:
        if one.met is not None:
            assert one.value is not None, "a demand is answered by a value"
            return f"demand {one.text}: {'met' if one.met else 'NOT MET'}, {one.metric} is {one.value:.4g}"
        names = {"l2_drift": "l2", "l2_excess": "l2", "effect_rms": "effect", "moved": "tests", "carried": "carried"}
        names |= {"share_carried": "carried", "fvu_ref": "fvu", "fvu_cand": "fvu"}
        wanted = {one.metric, names.get(one.metric, one.metric)}
        gaps = [gap for gap in self.not_measured if wanted & set(gap.what.split(", "))]
        for behind in ("tests", "reconstruction", "codes and reconstruction"):
            gaps += [gap for gap in self.not_measured if gap.what == behind]
        gap = gaps[0] if gaps else None
        why = "" if gap is None else f", {gap.text}" + (f" ({gap.fix})" if gap.fix else "")
        return f"demand {one.text}: NOT MEASURED{why}"

    @property
    def exit_code(self) -> ExitCode:
        """2 if a demand is unmet, else 4 if one was not measured, or nothing could be tested."""
        answers = [r.met for r in self.requirements]
        if False in answers:
            return ExitCode.GATE_FAILED
        return ExitCode.NOT_MEASURED if None in answers else ExitCode.PASS
