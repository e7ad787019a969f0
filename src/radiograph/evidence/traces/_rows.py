"""Training rows in order of how much a fine-tune learned them."""

from __future__ import annotations

from radiograph.evidence._record import Record


class RankedRow(Record):
    """One row."""

    line: int
    """Of the file, from 1."""
    id: str | None
    text: str
    """Parsed whole, then shortened for display."""
    tokens: int
    """Answer tokens; all but the first of a plain text."""
    drop: float
    """Mean over them of loss(reference) − loss(candidate), in nats."""
    z: float
    """Robust z of the drop among rows of like length."""
    loss: float
    """The reference's mean loss."""
    cluster: int
    copies: int
    """Rows in its cluster of near-duplicates."""


class RowToken(Record):
    """A token that the rows hold more often than neutral text does."""

    token: str
    rows: int
    count: int
    z: float


class RowTriage(Record):
    """All rows of `--train-data`."""

    file: str
    sha256: str
    n: int
    bad: tuple[int, ...]
    """Lines that are no rows, the first hundred."""
    n_bad: int
    truncated: int
    """Rows longer than the context, of which the end was left out."""
    clusters: int
    """Clusters of near-duplicates, single rows included."""
    top_drop: float
    """Mean drop of the leading twentieth of rows, less the median over all rows; nats."""
    rows: tuple[RankedRow, ...]
    """The leading rows by drop."""
    enriched: tuple[RowToken, ...]
    tokens: int
    """Tokens that the candidate read."""
