"""Site statistics and scans of units, as they are stored."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from radiograph.evidence._record import Document, Record


class StatisticsSite(Record):
    """One site of site statistics."""

    site: str
    width: int = Field(gt=0)
    n: int = Field(gt=0)
    """Tokens, without the first position of each text."""
    norms: float
    """Sum of the L2 norms of the rows."""
    threshold: float | None
    """A unit fires where |a| is above it; None: where a > 0."""
    covariance: bool
    directions: tuple[str, ...] = ()
    """Named vectors that were projected on."""
    sha256: str
    """Of every number."""


class StatisticsHeader(Document):
    """The header of stored site statistics."""

    SCHEMA: ClassVar[str] = "radiograph.site_statistics/1"

    model_sha256: str
    """Of the tensors."""
    tokenizer_sha256: str | None
    data_sha256: str
    """Of the tokens that were fed, and of which of them count."""
    arrays_sha256: str
    """Of `statistics.safetensors`."""
    sites: tuple[StatisticsSite, ...]


class UnitRow(Record):
    """One unit of a scan."""

    unit: str
    """SITE[n]."""
    n: int
    mean: float
    sd: float
    low: float
    high: float
    q01: float
    median: float
    q99: float
    skew: float
    kurtosis: float
    """0 for a normal distribution."""
    firing: float
    """Share of tokens."""
    write_norm: float | None
    """‖w‖ of its `down` column; None where the site has none."""
    contribution: float | None
    """Mean |a − median| · ‖w‖: how much its writing into the residual stream varies."""
    raised: tuple[str, ...] = ()
    """Tokens whose logits w raises most, through the final norm's gain alone."""
    lowered: tuple[str, ...] = ()
    contexts: tuple[str, ...] = ()
    """Where it was strongest, the token in brackets, strongest first."""


class UnitCell(Record):
    """Units that a picture shows as one dot."""

    firing: float
    contribution: float
    units: int


class MovedToken(Record):
    """A token, and by how much its logit moves."""

    token_id: int
    token: str
    change: float
    """Of the logit, mean over rows where it is measured."""


class UnitAttribution(Record):
    """Why a write of one unit says what it says; `structural` where the formula applies."""

    unit: str
    """SITE[n]."""
    value: float
    """What was written."""
    n: int
    """Rows: predicted tokens."""
    route: Literal["formula", "exact", "measured"]
    """Last block: formula and exact change. A norm after the block: exact change alone. Other blocks: measured."""
    refusal: str | None = None
    """Why there is no formula."""
    direct_raised: tuple[MovedToken, ...] = ()
    """Tokens that W_U(γ⊙w̃) raises most, per unit of activation, before 1/ρ."""
    direct_lowered: tuple[MovedToken, ...] = ()
    raised: tuple[MovedToken, ...]
    """Largest mean change of logits about their mean over tokens, which softmax ignores."""
    lowered: tuple[MovedToken, ...]
    r_squared: float | None = None
    """Of the first-order formula against the exact change; None where nothing changes or there is no formula."""
    saturation_up: MovedToken | None = None
    """The token that every text must repeat under a write without bound; `change` is its lead in logits."""
    saturation_down: MovedToken | None = None
