"""A basis of planes and where it came from; what was measured in a plane; how rows moved between two runs."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from radiograph.evidence._record import Document, Record

BasisKind = Literal["one-hot", "means", "contrast", "difference", "pca", "probe", "decoder", "random", "sum", "file"]
TransformName = Literal["raw", "centred", "whitened"]
RoleName = Literal["point", "difference", "covector"]
NullName = Literal["labels", "matched", "gaussian", "pool", "haar"]


class Basis(Document):
    """Vectors that planes are made of, each with its provenance. The numbers lie in `basis.safetensors` beside it."""

    SCHEMA: ClassVar[str] = "radiograph.basis/1"

    kind: BasisKind
    site: str | None
    width: int
    model: str | None = None
    """Hash of the model, where it is known."""
    transform: TransformName = "raw"
    """The space that the vectors live in; a raw basis may be looked at in any."""
    role: RoleName
    labels: tuple[str, ...]
    planes: tuple[tuple[int, int], ...] = ()
    """Pairs of vectors; empty: every pair."""
    null: NullName
    """What r_G is compared with unless told otherwise."""
    by: tuple[str, ...] = ()
    terms: tuple[str, ...] = ()
    """Filters whose means the vectors are sums of."""
    weights: tuple[tuple[float, ...], ...] = ()
    """Of each vector on each term; vectors beyond them are decided by rows and not by labels."""
    fit: Literal["means", "ridge"] = "means"
    """What the terms make: sums of their means, or the normal of a ridge probe each."""
    where: str = ""
    folds: tuple[str, ...] = ()
    """Cores; fold k was fitted without core k."""
    source_sha256: str | None = None
    """Of the vectors that it was fitted on."""
    rows: tuple[str, ...] = ()
    """Keys of the rows that it was fitted on."""
    digests: tuple[str, ...] = ()
    """Of the vectors of those rows: they are the same rows in whatever file they stand."""
    cores: tuple[str, ...] = ()
    """The core of each of those rows."""
    counts: dict[str, int] = Field(default_factory=dict)
    intervened: bool = False
    """Rows under an intervention were allowed."""
    pool: str | None = None
    bos: str | None = None
    vectors_sha256: str

    @property
    def built_from_labels(self) -> bool:
        """Whether labels decide the vectors, so that a permutation must rebuild them."""
        return bool(self.terms)


class PlaneGroup(Record):
    """One group of rows in one plane."""

    basis: str
    transform: TransformName
    plane: str
    group: str
    n: int
    r: float
    """Length of the Grey vector."""
    r_low: float | None = None
    r_high: float | None = None
    theta: float | None = None
    """Degrees; None inside the null ring: not defined."""
    theta_low: float | None = None
    theta_high: float | None = None
    mean_r: float
    concentration: float
    energy: float
    lift: float
    null_median: float | None = None
    null_high: float | None = None
    """95 % of the null."""
    p: float | None = None
    q: float | None = None
    family_p: float | None = None
    haar_p: float | None = None
    flags: tuple[str, ...] = ()


class GroupTest(Record):
    """Do groups differ in a plane, or do rows crowd its axes?"""

    basis: str
    transform: TransformName
    plane: str
    statistic: Literal["pseudo-F", "fourfold", "cone"]
    epsilon: float | None = None
    """Of a cone: its least cosine; the value is the largest share of rows in one."""
    value: float
    distance: float | None = None
    """With two groups: ‖g_A − g_B‖."""
    p: float | None
    q: float | None = None
    family_p: float | None = None
    flags: tuple[str, ...] = ()


class Triangulation(Record):
    """The mean row inside the span of the vectors of a basis."""

    basis: str
    transform: TransformName
    share: float
    """Of its squared norm."""
    rank: int
    null: str
    """Spans of as many vectors of this kind, or why there is none."""
    null_median: float | None = None
    null_high: float | None = None
    """95 % of the null."""
    p: float | None = None


class CompassGroup(Record):
    """A group on a compass."""

    name: str
    grey: tuple[float, float]
    points: tuple[tuple[float, float], ...]
    """At most 300 rows."""


class Compass(Record):
    """A plane as it is drawn."""

    basis: str
    transform: TransformName
    plane: str
    labels: tuple[str, str]
    second_angle: float
    """Degrees at which the second vector lies."""
    circular: bool
    row_ring: float
    mean_ring: float
    ring_of: str
    """The null of the rings."""
    groups: tuple[CompassGroup, ...]
    angles: tuple[float, ...]
    epsilons: tuple[float, ...]
    cones: tuple[tuple[tuple[float, ...], ...], ...]
    """[group][ε][angle]."""


class Spread(Record):
    """r_G of a group over the planes of a basis, for a violin."""

    basis: str
    transform: TransformName
    group: str
    r: tuple[float, ...]
    """At most 400 planes."""
    null: tuple[float, ...]
    """95 % of the null of the same planes."""


class PlaneMap(Record):
    """Planes laid out by their principal angles."""

    basis: str
    transform: TransformName
    names: tuple[str, ...]
    x: tuple[float, ...]
    y: tuple[float, ...]
    cluster: tuple[int, ...]
    r: tuple[float, ...]


class Movement(Record):
    """One group of paired rows in one plane: right less left."""

    basis: str
    transform: TransformName
    plane: str
    group: str
    n: int
    left_r: float
    right_r: float
    delta_r: float
    delta_theta: float | None
    """Degrees in (−180, 180]; None where a side lies inside the ring of isotropic means."""
    displacement: float
    """‖mean Δz‖."""
    delta_grey: tuple[float, float]
    row_displacement: float
    """Mean of ‖Δz‖ over rows."""
    delta_cone: dict[str, float] = Field(default_factory=dict)
    """ε → change of the largest cone fraction."""
    delta_signed: dict[str, float] = Field(default_factory=dict)
    p: float | None = None
    p_r: float | None = None
    p_theta: float | None = None
    q: float | None = None
    p_units: float | None = None
    """Of the displacement among those of matched units that were pushed as hard."""
    p_directions: float | None = None
    """The same among random directions of equal norm."""
    q_controls: float | None = None
    """The smaller of the two, over all of them in the run."""
    flags: tuple[str, ...] = ()


class Arrow(Movement):
    """A movement as it is drawn."""

    left: tuple[float, float]
    right: tuple[float, float]
    direct: tuple[float, float] | None = None
    """Where the right side would be with the reference's text."""
    directly: float | None = None
    """From the left to there."""
    text_mediated: float | None = None
    """From there to the right."""
