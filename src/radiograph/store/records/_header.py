"""`radiograph.records/1`: what a folder of sparse records says about itself.

    rows/00000.parquet      row, prompt_id, group_id, split, token, … : every row measured, also where nothing fired
    values/00000.parquet    row u32, token i32, feature u32, value f32; sorted by (row, feature), zstd
    statistics/00000.parquet   count, mean, squared deviations and maximum of each feature that fired in the part
    features.parquet        feature, feature_id, site, dictionary_sha256, n_active, maximum, mean_active, sd
    header.json             this document: complete false at the beginning, with every part at the end

A row is a token (`level: token`; `token` is its position) or a whole prompt (`level: prompt`; `token` is -1).
`absent: zero` means that a (row, feature) without an entry was measured and silent.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from radiograph.evidence import Document, Record

HEADER = "header.json"
FEATURES = "features.parquet"
TABLES = ("rows", "values", "statistics")


class RecordsModel(Record):
    """The model that ran."""

    ref: str
    """As the user wrote it, without absolute folders."""
    sha256: str


class Part(Document):
    """The tables of one part. Its existence says that they are whole."""

    SCHEMA: ClassVar[str] = "radiograph.records_part/1"

    number: int
    rows: int
    entries: int
    bytes: dict[str, int]
    """Of each table's file."""
    sha256: dict[str, str]
    spec_sha256: str


class Header(Document):
    """The folder as a whole."""

    SCHEMA: ClassVar[str] = "radiograph.records/1"

    model: RecordsModel
    tokenizer_sha256: str | None
    absent: Literal["zero", "below", "missing"] = "zero"
    level: Literal["token", "prompt"] = "token"
    pool: Literal["max", "mean", "last", "sum", "count"] | None = None
    sites: tuple[str, ...]
    dictionary_sha256: str | None
    value_unit: Literal["write_norm", "raw"] = "raw"
    order: Literal["row"] = "row"
    """Entries of one row stand together."""
    rows: int = 0
    features: int
    entries: int = 0
    kept_per_row: int | None = None
    selected: str | None = None
    """Hash of the split by which features were chosen with labels in hand; None: they were not."""
    features_sha256: str | None = None
    """Of `features.parquet`."""
    parts: tuple[Part, ...] = ()
    complete: bool = False
