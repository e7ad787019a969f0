"""What `records export` says about what it stored."""

from __future__ import annotations

from typing import ClassVar, Literal

from radiograph.evidence import Record, Result


class ExportedSource(Record):
    """Features of one codec."""

    source: str
    site: str
    features: int
    """Of them in the records."""
    of: int
    """That the codec has."""
    dictionary_sha256: str | None = None
    fvu: float | None = None
    """Share of the variance that the dictionary does not explain on these texts; None: no dictionary, or too few
    tokens.
    """
    fvu_tokens: int | None = None
    citation: str | None = None


class RecordsExport(Result):
    """What was stored."""

    SCHEMA: ClassVar[str] = "radiograph.records_export/1"

    model: str
    backend: Literal["hf", "transformerlens", "nnsight"]
    sources: tuple[ExportedSource, ...]
    criterion: str | None = None
    """Id of the criterion whose rows these are; it lies in `criterion/`."""
    level: Literal["token", "prompt"]
    pool: str | None
    absent: Literal["zero", "below"]
    kept_per_row: int | None
    selected: str | None
    """Hash of the split on whose discover half features were chosen."""
    rows: int
    prompts: int
    features: int
    entries: int
    active: float
    """Mean entries a row."""
    tokens: int
    """Fed, special ones included."""
    truncated: int
    """Prompts longer than --max-length or the model's context, cut at their end."""
    lost: int
    """Labelled spans of which no token was left."""
    bos: Literal["skip", "keep"]
    to: Literal["parquet", "jsonl"]
    sha256: str
    """Of the header of the records, or of the JSON Lines."""
    codes: tuple[str, ...] = ()
    """Codes that findings on these records carry."""
    notes: tuple[str, ...] = ()

    @property
    def headline(self) -> str:
        """Entries, features, rows."""
        return (
            f"{self.entries:,} entries of {self.features:,} features on {self.rows:,} {self.level}s of "
            f"{self.prompts:,} prompts, {self.active:.1f} a {self.level}"
        )

    @property
    def lines(self) -> tuple[str, ...]:
        """What a reader should not overlook."""
        return self.notes
