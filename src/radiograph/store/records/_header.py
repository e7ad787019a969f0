"""`radiograph.records/1`: what a folder of sparse records says about itself.

    rows/00000.parquet      row, token, prompt_id, group_id and, where known, the columns of `ROWS`: every row measured,
                            also where nothing fired
    values/00000.parquet    row u32, token i32, feature u32, value f32; zstd
    statistics/00000.parquet   count, mean, squared deviations and maximum of each feature that fired in the part
    features.parquet        the columns of `FEATURE_COLUMNS`, a line a feature
    header.json             this document: complete false at the beginning, with every part at the end

`order: row`: the values of a part belong to its rows and are sorted by (row, feature).
`order: feature`: values are sorted by (feature, row) over all parts; part n of `rows` and part n of `values` have
nothing in common, and there are no `statistics`.

A row is a token (`level: token`; `token` is its position) or a whole prompt (`level: prompt`; `token` is -1).
A (row, feature) without an entry was measured and silent (`absent: zero`), was not among the `kept_per_row` largest
(`below`), or was not measured (`missing`); zeros are written in the last case alone.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from radiograph.evidence import Document, Record

HEADER = "header.json"
FEATURES = "features.parquet"
TABLES = ("rows", "values", "statistics")
Absent = Literal["zero", "below", "missing"]
Level = Literal["token", "prompt"]
Pool = Literal["max", "mean", "last", "sum", "count"]
ROWS = ("text", "n_tokens", "offsets", "score", "label", "kind", "split", "extra")
"""Columns that rows may have beside their own; `factor.NAME` holds a factor. `extra` is JSON: fields of others."""
FACTOR = "factor."
FEATURE_COLUMNS = (
    "feature",
    "feature_id",
    "site",
    "dictionary_sha256",
    "n_present",
    "n_active",
    "maximum",
    "mean_active",
    "sd",
    "label",
    "direction",
    "extra",
)
"""`n_present` entries are stored, `n_active` of them not zero; `maximum`, `mean_active` and `sd` are over these.
`direction` is the row of the feature in `directions.safetensors`."""


class RecordsModel(Record):
    """The model that ran."""

    ref: str
    """As the user wrote it, without absolute folders."""
    sha256: str | None = None
    """None: records of others do not say."""


class Part(Document):
    """Tables of one number. Its existence says that they are whole."""

    SCHEMA: ClassVar[str] = "radiograph.records_part/1"

    number: int
    rows: int
    entries: int
    bytes: dict[str, int]
    """Of each table that has a file of this number."""
    sha256: dict[str, str]
    spec_sha256: str


class Header(Document):
    """The folder as a whole."""

    SCHEMA: ClassVar[str] = "radiograph.records/1"

    model: RecordsModel
    tokenizer_sha256: str | None
    absent: Absent = "zero"
    level: Level = "token"
    pool: Pool | None = None
    sites: tuple[str, ...]
    dictionary_sha256: str | None
    value_unit: Literal["write_norm", "raw"] = "raw"
    order: Literal["row", "feature"] = "row"
    """What stands together: entries of one row, or of one feature."""
    rows: int = 0
    features: int
    entries: int = 0
    kept_per_row: int | None = None
    selected: str | None = None
    """Hash of the split on whose discover half features were chosen with labels in hand; None: they were not."""
    preselected: bool = False
    """Features were chosen with the labels of all rows in hand, so nothing is left to confirm them on."""
    private: bool = False
    """Rows are marked private where they come from: `publish` stops here."""
    vanished: dict[str, int] = Field(default_factory=dict)
    """Of each feature, values that a file stated and that are zero in float32: they count as silence."""
    features_sha256: str | None = None
    """Of `features.parquet`."""
    parts: tuple[Part, ...] = ()
    complete: bool = False

    def said_of(self, name: str) -> list[str]:
        """What a reader should know of these records beside their numbers."""
        if not self.vanished:
            return []
        many = len(self.vanished)
        shown = ", ".join(list(self.vanished)[:5]) + (f" and {many - 5} more" if many > 5 else "")
        total = sum(self.vanished.values())
        return [f"{total} values of {name} are zero in float32 and count as silence, of {shown}"]
