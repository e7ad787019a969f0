"""Site statistics and scans of units, as they are stored."""

from __future__ import annotations

from typing import ClassVar

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
