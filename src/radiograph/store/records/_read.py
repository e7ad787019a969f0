"""A finished folder of records, checked before anything of it is used, and read by feature in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from radiograph.core import FormatError, UserError
from radiograph.store._hashing import file_sha256
from radiograph.store.records._blocks import MEMORY, Block, Triplets, blocks, chunks
from radiograph.store.records._header import FACTOR, FEATURES, HEADER, Header
from radiograph.store.shards._index import read_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    import polars

FOLDER = "records"


@dataclass(frozen=True)
class Records:
    """Lazy tables of a folder."""

    folder: Path
    header: Header

    @property
    def rows(self) -> polars.LazyFrame:
        """Every row measured."""
        return self._scan("rows")

    @property
    def values(self) -> polars.LazyFrame:
        """Every entry, in the order that the header names."""
        return self._scan("values")

    @property
    def features(self) -> polars.DataFrame:
        """A line a feature, silent ones included."""
        import polars

        return polars.read_parquet(self.folder / FEATURES)

    @property
    def factors(self) -> tuple[str, ...]:
        """Names of the factors of rows."""
        names = self.rows.collect_schema().names() if self.files("rows") else []
        return tuple(name.removeprefix(FACTOR) for name in names if name.startswith(FACTOR))

    def texts(self) -> polars.DataFrame:
        """`prompt_id` and `text` of every prompt whose text is known; any of its rows may hold it."""
        import polars as pl

        names = self.rows.collect_schema().names() if self.files("rows") else []
        if "text" not in names:
            return pl.DataFrame(schema={"prompt_id": pl.String, "text": pl.String})
        return self.rows.select("prompt_id", "text").drop_nulls("text").collect().unique("prompt_id", keep="first")

    def blocks(self, *, memory: int = MEMORY) -> Iterator[Block]:
        """Entries by feature, every feature in exactly one block, blocks in order; see `Block`.

        Needs about `memory` bytes, however many rows there are, or more where one feature alone does not fit.
        """
        return blocks(self.files("values"), self.header.order, self.features["n_present"].to_numpy(), memory)

    def triplets(self) -> Iterator[Triplets]:
        """Entries as they lie: features, rows, values, at most a million at a time."""
        return chunks(self.files("values"))

    def files(self, table: str) -> tuple[Path, ...]:
        """The files of a table, in order."""
        # Parts are named, never globbed: a file that lies beside them is none of ours.
        return tuple(
            self.folder / table / f"{part.number:05d}.parquet" for part in self.header.parts if table in part.bytes
        )

    def _scan(self, table: str) -> polars.LazyFrame:
        import polars

        return polars.scan_parquet(list(self.files(table)))


def open_records(path: Path, *, verify: bool = False) -> Records:
    """The records in a folder, or in a bundle that holds them.

    Raises:
        UserError: no records there, or they were not finished.
        FormatError: a table is missing, short, or (with `verify`) not what its hash says.
    """
    folder = path / FOLDER if not (path / HEADER).is_file() and (path / FOLDER / HEADER).is_file() else path
    if not (folder / HEADER).is_file():
        raise UserError(f"no records in {folder}", expected=f"a folder with {HEADER}")
    header = Header.read(read_json(folder / HEADER), where=str(folder / HEADER))
    if not header.complete:
        raise UserError(f"the records in {folder} were not finished", fix="resume the run", code="incomplete")
    for part in header.parts:
        for table in part.bytes:
            file = folder / table / f"{part.number:05d}.parquet"
            size = file.stat().st_size if file.is_file() else None
            if size != part.bytes[table]:
                got = "no such file" if size is None else f"{size:,} bytes"
                raise FormatError(
                    "a table is not what was written", where=str(file), expected=f"{part.bytes[table]:,} bytes", got=got
                )
            if verify:
                _require_hash(file, part.sha256[table])
    _require_hash(folder / FEATURES, header.features_sha256)
    return Records(folder, header)


def _require_hash(path: Path, expected: str | None) -> None:
    found = file_sha256(path) if path.is_file() else "no such file"
    if found != expected:
        raise FormatError("a table is not what was written", where=str(path), expected=expected, got=found)
