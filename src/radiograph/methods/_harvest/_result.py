"""What `harvest` says about what it stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from radiograph.evidence import Record, Result

if TYPE_CHECKING:
    from radiograph.store.records import Header


class HarvestedSource(Record):
    """One site of one model."""

    source: str
    width: int
    dtype: str
    variance: float | None
    """Mean of ‖x − mean‖² over rows."""
    mean_norm: float | None
    """Length of the mean row."""
    largest_norm: float | None


class HarvestedRecords(Record):
    """What a dictionary found on the rows."""

    dictionary_sha256: str
    sites: tuple[str, ...]
    level: Literal["token", "prompt"]
    pool: str | None
    features: int
    rows: int
    entries: int
    active: float
    """Mean entries a row."""
    bytes: int


class HarvestResult(Result):
    """What was stored."""

    SCHEMA: ClassVar[str] = "radiograph.harvest/1"

    models: dict[str, str]
    """Role to reference."""
    sources: tuple[HarvestedSource, ...]
    rows: int
    """Of every source."""
    rows_dropped: int
    """Left out by --drop-norm."""
    validation_rows: int
    tokens_fed: int
    documents: int
    documents_left_out: int
    """Not in the subset."""
    documents_empty: int
    """Without a token to keep."""
    documents_cut: int
    """Longer than a window."""
    windows: int
    shards: int
    bytes: int
    """Of the shards."""
    index_sha256: str | None
    """Of the index, which holds the SHA-256 of every shard."""
    config_sha256: str
    """Of everything that decides a byte."""
    records: HarvestedRecords | None = None
    notes: tuple[str, ...] = ()

    @property
    def headline(self) -> str:
        """Rows, sources, shards."""
        if not self.sources and self.records:
            found = self.records
            return f"{found.entries:,} entries of {found.features:,} features on {found.rows:,} {found.level}s"
        many = f"{len(self.sources)} sources" if len(self.sources) > 1 else "".join(s.source for s in self.sources)
        plural = "s" if self.shards != 1 else ""
        return f"{self.rows:,} rows of {many} in {self.shards} shard{plural}, {self.bytes / 1e6:,.1f} MB"

    @property
    def lines(self) -> tuple[str, ...]:
        """What a reader should not overlook."""
        return self.notes


def recorded_in(header: Header) -> HarvestedRecords:
    """The records of a header that is complete."""
    units = header.rows
    return HarvestedRecords(
        dictionary_sha256=header.dictionary_sha256 or "",
        sites=header.sites,
        level=header.level,
        pool=header.pool,
        features=header.features,
        rows=units,
        entries=header.entries,
        active=header.entries / units if units else 0.0,
        bytes=sum(sum(part.bytes.values()) for part in header.parts),
    )
