"""Units of a site and named directions, as dictionaries with the identity for σ."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from radiograph.core import UserError
from radiograph.dictionaries.plain._dictionary import PlainDictionary
from radiograph.evidence import document_sha256
from radiograph.store import file_sha256
from radiograph.store.vectors import read_directions


def units(site: str, width: int) -> PlainDictionary:
    """Every coordinate of a site by itself."""
    rows = np.eye(width, dtype=np.float32)
    return PlainDictionary(rows, "identity", document_sha256(["units", site, width]), decoder=rows, sites=(site,))


def read_directions_file(path: Path, width: int, site: str | None = None) -> PlainDictionary:
    """The vectors of a safetensors file, made length 1; the rows of a matrix one by one.

    Raises:
        UserError: one of another width. FormatError: not such a file.
    """
    rows: list[np.ndarray] = []
    names: list[str] = []
    for name, value in read_directions(path).items():
        table = np.atleast_2d(value).astype(np.float32)
        if table.shape[1] != width:
            raise UserError(
                f"{name} of {path.name} does not fit the activations",
                expected=f"width {width}",
                got=f"width {table.shape[1]}",
                code="dictionary_mismatch",
            )
        rows.append(table / np.linalg.norm(table, axis=1, keepdims=True))
        names += [name] if value.ndim == 1 else [f"{name}[{i}]" for i in range(len(table))]
    held = np.concatenate(rows)
    where = (site,) if site else ()
    return PlainDictionary(held, "identity", file_sha256(path), decoder=held, sites=where, names=tuple(names))
