"""`radiograph.activations/1`: what a folder of activations says about itself.

    00000.safetensors    "reference/resid_post.6" [rows, d] · token u32 · prompt u32 · position u16 · stats/SOURCE/…
    00000.json           commit record of the shard: written last, so a shard without one does not exist
    prompts.parquet      a row a window: prompt, prompt_id, group, split, source and line, counts, token hash
    statistics.safetensors   SOURCE/mean, SOURCE/deviations, SOURCE/histogram over all rows
    index.json           this document: written at the beginning with complete false, and at the end with everything

Rows of all sources align by construction. No clock time and no absolute path stands in any of these files.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from radiograph.core import FormatError, UserError
from radiograph.evidence import Document, Record, document_sha256, pretty_json
from radiograph.store._atomic import write_table, write_whole

if TYPE_CHECKING:
    import polars

INDEX = "index.json"
PROMPTS = "prompts.parquet"
STATISTICS = "statistics.safetensors"
_MADE_LATER = ("commits", "complete", "counts", "prompts_sha256", "statistics_sha256", "sources")


class ModelRecord(Record):
    """A model that ran."""

    role: str
    """reference, candidate, candidate2, …"""
    reference: str
    """As the user wrote it, without absolute folders: for people. Identity is the hash."""
    sha256: str


class SourceRecord(Record):
    """One site of one model."""

    source: str
    """`ROLE/SITE`."""
    width: int
    dtype: str
    """As safetensors spells it: F32, F16, BF16."""
    variance: float | None = None
    """Mean of ‖x − x̄‖² over all rows."""
    mean_norm: float | None = None
    """Length of the mean row."""
    largest_norm: float | None = None


class Commit(Document):
    """What one shard holds. Its existence says that the shard is whole."""

    SCHEMA: ClassVar[str] = "radiograph.shard/1"

    number: int
    rows: int
    validation_rows: int
    prompts: tuple[int, int]
    """First and last row of `prompts.parquet` in it."""
    tokens: int
    """Tokens fed."""
    bytes: int
    sha256: str
    spec_sha256: str
    """Of everything that decides the shard's bytes."""


class Index(Document):
    """The folder as a whole."""

    SCHEMA: ClassVar[str] = "radiograph.activations/1"

    models: tuple[ModelRecord, ...]
    sources: tuple[SourceRecord, ...]
    tokenizer_sha256: str | None
    template_sha256: str | None = None
    config_sha256: str
    """Of every option that decides a byte; where the folder lies and who writes it are no part of it."""
    data_sha256: dict[str, str]
    """Data source, as the user wrote it, to the hash of its content."""
    split_salt: int
    validation: float
    """Share of the prompt groups that is held out."""
    bos: str = "skip"
    shards: int
    """How many there will be: known before a model runs."""
    prompts_sha256: str | None = None
    """Of `prompts.parquet`, which says on which side of the split a row is; None in memory."""
    counts: dict[str, int] = Field(default_factory=dict)
    """What became of documents, tokens and rows on the way in."""
    statistics_sha256: str | None = None
    commits: tuple[Commit, ...] = ()
    complete: bool = False

    @cached_property
    def sha256(self) -> str:
        """Identity of the activations."""
        return document_sha256(self)

    @property
    def widths(self) -> dict[str, int]:
        """Width of each source."""
        return {record.source: record.width for record in self.sources}


def begin(folder: Path, index: Index, prompts: polars.DataFrame) -> None:
    """Write the table of prompts and an index that is not complete; again where the same harvest goes on.

    Raises:
        UserError: the folder holds another harvest; names the first field that differs.
    """
    if index.complete or index.commits:
        raise ValueError("a harvest begins without shards")
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / INDEX).exists():
        _require_same(read_index(folder), index, folder)
        return
    _, sha256 = write_table(folder / PROMPTS, prompts)
    write_document(folder / INDEX, index.model_copy(update={"prompts_sha256": sha256}))


def read_index(folder: Path) -> Index:
    """The index of a folder.

    Raises:
        UserError: no activations there.
        FormatError: the index is not one.
    """
    path = folder / INDEX
    if not path.is_file():
        raise UserError(f"no activations in {folder}", expected=f"a folder with {INDEX}", fix="run radiograph harvest")
    return Index.read(read_json(path), where=str(path))


def read_json(path: Path) -> dict[str, object]:
    """An object from a file.

    Raises:
        FormatError: it does not hold one.
    """
    try:
        document = json.loads(path.read_bytes())
    except ValueError as error:
        raise FormatError("not JSON", where=str(path), got=str(error)) from error
    if not isinstance(document, dict):
        raise FormatError("not a JSON object", where=str(path), got=type(document).__name__)
    return document


def write_document(path: Path, document: Document) -> None:
    """There is the old file or the new one, never a part."""
    data = pretty_json(document).encode()
    write_whole(path, (data,), len(data))


def _require_same(stored: Index, now: Index, folder: Path) -> None:
    for name in Index.model_fields:
        ours = getattr(stored, name)
        if name in _MADE_LATER:
            continue
        if ours != getattr(now, name):
            raise UserError(
                f"{folder} holds another harvest: {name} differs",
                expected=str(ours),
                got=str(getattr(now, name)),
                where=f"{folder / INDEX}: {name}",
                fix="harvest into a new folder, or resume with the model, data and options of the first run",
                code="another_harvest",
            )
