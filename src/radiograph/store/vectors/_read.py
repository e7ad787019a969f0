"""The rows and vectors of a finished capture.

Every shard is hashed before it is read. Rows without a vector (no new token, not finite) are rows of NaN.
"""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.core import FormatError, UserError, nearest
from radiograph.evidence import check_schema
from radiograph.store._hashing import file_sha256
from radiograph.store.vectors._write import INDEX, SCHEMA

if TYPE_CHECKING:
    import polars

FOLDER = "vectors"
ROWS = "tables/rows.parquet"


class Vectors:
    """A capture bundle, for reading."""

    def __init__(self, folder: Path, index: dict[str, Any]) -> None:
        self.folder, self.index = folder, index

    @property
    def sites(self) -> tuple[str, ...]:
        """Sites that were read."""
        return tuple(site["site"] for site in self.index["sites"])

    @property
    def pool(self) -> str:
        """Which positions were pooled."""
        return str(self.index["pool"])

    @property
    def n_rows(self) -> int:
        """Rows, those without a vector included."""
        return int(self.index["rows"])

    def width(self, site: str) -> int:
        """Length of the vectors at a site.

        Raises:
            UserError: it was not read.
        """
        for known in self.index["sites"]:
            if known["site"] == site:
                return int(known["width"])
        close = nearest(site, list(self.sites))
        raise UserError(
            f"{self.folder.name} holds no vectors of {site}",
            expected=", ".join(self.sites) or "none: it was captured without --site",
            fix=f"did you mean {', '.join(close)}?" if close else None,
            code="unknown_site",
        )

    @cached_property
    def rows(self) -> polars.DataFrame:
        """`tables/rows.parquet`."""
        import polars

        return polars.read_parquet(self.folder / ROWS)

    def read(self, site: str) -> np.ndarray:
        """[row, width] float32: one vector a row; of the pool `tokens` their mean.

        Raises:
            UserError: the site was not read. FormatError: a shard that is not the one of the index.
        """
        out = np.full((self.n_rows, self.width(site)), np.nan, dtype=np.float32)
        for held in self._shards():
            if "token" in held:
                places, own, counts = np.unique(held["row"], return_inverse=True, return_counts=True)
                sums = np.zeros((len(places), out.shape[1]))
                np.add.at(sums, own, held[site])
                out[places] = sums / counts[:, None]
            else:
                out[held["row"]] = held[site]
        return out

    def read_tokens(self, site: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row, number of the new token, and vector of every token of the pool `tokens`.

        Raises:
            UserError: another pool, or the site was not read.
        """
        if self.pool != "tokens":
            raise UserError(f"{self.folder.name} holds one vector a row", expected="pool tokens", got=self.pool)
        self.width(site)
        parts = list(self._shards())
        rows, tokens, values = ([held[name] for held in parts] for name in ("row", "token", site))
        order = np.lexsort((np.concatenate(tokens), np.concatenate(rows)))
        return np.concatenate(rows)[order], np.concatenate(tokens)[order], np.concatenate(values)[order]

    def _shards(self) -> Any:
        from safetensors.numpy import load_file

        for shard in self.index["shards"]:
            path = self.folder / FOLDER / shard["file"]
            found = file_sha256(path) if path.is_file() else "no file"
            if found != shard["sha256"]:
                raise FormatError(
                    f"{shard['file']} is not the one that was captured",
                    where=str(path),
                    expected=shard["sha256"],
                    got=found,
                    fix="capture again",
                )
            yield load_file(path)


def open_vectors(folder: Path) -> Vectors:
    """A capture bundle.

    Raises:
        UserError: an unfinished run. FormatError: no bundle of a capture.
    """
    path = folder / FOLDER / INDEX
    if not path.is_file():
        unfinished = folder.name.endswith(".partial")
        raise FormatError(
            f"{folder.name} is no bundle of `resonance capture`",
            expected=f"{FOLDER}/{INDEX}",
            fix="go on with it: resonance capture … --resume RUN" if unfinished else None,
        )
    try:
        index = json.loads(path.read_bytes())
    except ValueError as error:
        raise FormatError(f"cannot read {INDEX}", where=str(path), got=str(error)) from error
    check_schema(index.get("schema"), SCHEMA, str(path))
    return Vectors(folder, index)
