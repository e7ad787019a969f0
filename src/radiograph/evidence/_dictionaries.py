"""What a dictionary is worth: each number with its n, its interval, its null, and what knows nothing gets beside it."""

from __future__ import annotations

from typing import Literal

from radiograph.evidence._record import Record
from radiograph.evidence._statistics import Estimate

ScalingState = Literal["exclusive", "attenuated", "shared", "not_measured"]


class Metric(Record):
    """One number about a dictionary. What was not measured is not among them: it stands among the refusals."""

    name: str
    """As in `--require`."""
    source: str | None = None
    """The target it is about; None: all targets together."""
    group: Literal["reconstruction", "codes", "splice", "geometry", "truth", "agreement"]
    estimate: Estimate
    """`null` is what the mean in the place of every reconstruction gives, or chance where that is the yardstick."""
    random: float | None = None
    """Of a dictionary of random directions, of the same size and L0."""
    linear: float | None = None
    """Of principal directions, of the same L0."""


class MeasuredRows(Record):
    """The rows behind the metrics."""

    origin: Literal["activations", "texts"]
    split: Literal["train", "validation", "all"]
    n: int
    groups: int
    """Prompt groups: what is drawn together in the bootstrap."""
    units: int
    """Units of resampling that the groups were dealt into."""


class SplicedTokens(Record):
    """The tokens behind the metrics of splicing."""

    source: str
    predicted: int
    replaced: int
    """Positions at which the reconstruction stood."""
    groups: int
    exact: float
    """Change of CE with ŷ + (y − ŷ) in place, nats per token: how exact the splice itself is."""


class FvuBand(Record):
    """FVU of the rows at some positions, or of some norms."""

    source: str
    by: Literal["position", "norm"]
    low: float
    high: float | None
    """Exclusive; None: open."""
    fvu: Estimate


class Densities(Record):
    """How often features fire."""

    n: int
    histogram: tuple[int, ...]
    """Live features in 70 bins of log10 density, −7 to 0."""
    random: tuple[int, ...] | None
    """The same of the random dictionary."""
    dead_below: float
    """3 / n: the density that a feature silent on all n rows stays below (95 %)."""


class GeometryRecord(Record):
    """How decoder rows lie to each other."""

    n: int
    """Rows looked at: all, or a sample."""
    nearest: tuple[int, ...]
    """Cosines with the nearest other row, in 40 bins from −1 to 1."""
    random: tuple[int, ...]
    """The same of as many random directions."""
    pairs: tuple[tuple[int, int, float], ...]
    """The closest pairs above .95, at most 20."""


class RecoveryRecord(Record):
    """Planted directions that were found."""

    directions: int
    found: int
    """Within cosine .9 of a decoder row."""
    live: int
    precise: int | None
    """Live features within .9 of a direction."""
    chance_best: float
    """The largest cosine of any random row in 20 draws."""


class AgreementRecord(Record):
    """Overlap with another dictionary of the same sources."""

    other_sha256: str
    pairing: str
    n: int
    shared: int
    null_shared: int
    """Of rows drawn with the other decoder's covariance."""


class ScaledFeature(Record):
    """Latent scaling of one feature of a crosscoder."""

    role: Literal["nominee", "shared", "random_direction", "copy"]
    """`copy`: a nominee on the pair of the reference with its own copy."""
    feature: int
    side: Literal["reference", "candidate"]
    rho: float
    """Share of the candidate in the decoder norms: it nominates, and decides nothing."""
    state: ScalingState
    active: int
    beta_strong: float | None = None
    nu_error: float | None = None
    nu_error_bound: float | None = None
    nu_reconstruction: float | None = None
    nu_reconstruction_bound: float | None = None


class ExclusivityRecord(Record):
    """What is written in one model only."""

    reference: str
    candidate: str
    nominated: int
    """By norm alone: no finding."""
    exclusive_reference: int
    exclusive_candidate: int
    attenuated: int
    shared: int
    not_measured: int
    copy_exclusive: int
    """Called exclusive where the candidate is a copy of the reference: must be 0."""
    warning: Literal["l1_shrinkage"] | None = None
    """Trained under an L1 penalty, which shrinks weak writes to zero and splits features."""
    features: tuple[ScaledFeature, ...]


class Requirement(Record):
    """One `--require`."""

    text: str
    metric: str
    source: str | None
    bound: float
    sense: Literal["<", "<=", ">", ">="]
    value: float | None
    met: bool | None
    """None: not measured."""
