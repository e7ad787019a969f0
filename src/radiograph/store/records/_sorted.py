"""Records in the order of features, written by one process from first to last.

The folder counts when `finish` has written the header; a writer that is killed leaves one that no reader opens.
Statistics of features are computed from the entries as they pass, every feature whole.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.core import FormatError
from radiograph.core.shapes import Float32, Int64, UInt32
from radiograph.store._atomic import write_table
from radiograph.store.records._features import features_table, statistics_of
from radiograph.store.records._header import FEATURES, HEADER, Header, Part
from radiograph.store.shards._index import write_document

if TYPE_CHECKING:
    import polars

ROW_GROUP = 250_000


class SortedWriter:
    """A folder of records that is being written: rows in their order, entries by (feature, row)."""

    def __init__(self, folder: Path, header: Header) -> None:
        """Begin; `header` lacks the counts, the parts and the number of features."""
        self.folder, self.header = folder, header
        self._parts: dict[int, dict[str, tuple[int, int, str]]] = {}
        self._statistics: list[dict[str, np.ndarray]] = []
        for table in ("rows", "values"):
            (folder / table).mkdir(parents=True)

    def rows(self, table: polars.DataFrame) -> None:
        """The next rows."""
        self._write("rows", table)

    def values(
        self,
        offsets: Int64[np.ndarray, " offset"],
        rows: UInt32[np.ndarray, " entry"],
        values: Float32[np.ndarray, " entry"],
        tokens: np.ndarray | int = -1,
    ) -> None:
        """Entries of the next features.

        Raises:
            FormatError: a value is not finite.
        """
        import polars

        if not np.isfinite(values).all():
            raise FormatError("a value is not finite", where=f"entry {int(np.argmin(np.isfinite(values)))}")
        first = sum(len(known["n_present"]) for known in self._statistics)
        features = np.repeat(np.arange(first, first + len(offsets) - 1, dtype=np.uint32), np.diff(offsets))
        token = polars.repeat(tokens, len(rows), dtype=polars.Int32, eager=True) if isinstance(tokens, int) else tokens
        if len(rows):
            self._write("values", polars.DataFrame({"row": rows, "token": token, "feature": features, "value": values}))
        self._statistics.append(statistics_of(offsets, values))

    def finish(self, **names: Any) -> Header:
        """Write the table of features (`names` are columns of it, `feature_id` among them) and the header."""
        merged = {key: np.concatenate([s[key] for s in self._statistics]) for key in self._statistics[0]}
        table = features_table(**names, **merged)
        _, sha256 = write_table(self.folder / FEATURES, table)
        parts = tuple(
            Part(
                number=number,
                rows=held["rows"][0] if "rows" in held else 0,
                entries=held["values"][0] if "values" in held else 0,
                bytes={table: size for table, (_, size, _) in held.items()},
                sha256={table: digest for table, (_, _, digest) in held.items()},
                spec_sha256="",
            )
            for number, held in sorted(self._parts.items())
        )
        header = self.header.model_copy(
            update={
                "order": "feature",
                "features": len(table),
                "rows": sum(part.rows for part in parts),
                "entries": sum(part.entries for part in parts),
                "features_sha256": sha256,
                "parts": parts,
                "complete": True,
            }
        )
        write_document(self.folder / HEADER, header)
        return header

    def _write(self, name: str, table: polars.DataFrame) -> None:
        number = sum(name in held for held in self._parts.values())
        size, sha256 = write_table(self.folder / name / f"{number:05d}.parquet", table, row_group=ROW_GROUP)
        self._parts.setdefault(number, {})[name] = (len(table), size, sha256)
