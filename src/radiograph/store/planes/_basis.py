"""A basis on disk: `basis.safetensors` (`vectors` m × D, `folds` F × m × D, `pool` n × D, `alike` m × k) and
`basis.json`.

`folds[k]` is the basis fitted without core k. `pool` holds directions of the same kind, for a null: write directions of
other features; `alike` says which of them stand for each vector. The record carries the hash of the tensors, so that
neither can be exchanged alone.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from radiograph.core import FormatError, UserError
from radiograph.evidence.resonance import Basis

RECORD, TENSORS = "basis.json", "basis.safetensors"


@dataclass(frozen=True, eq=False)
class StoredBasis:
    """A record and its numbers."""

    record: Basis
    vectors: np.ndarray
    folds: np.ndarray | None = None
    pool: np.ndarray | None = None
    alike: np.ndarray | None = None


def basis_bytes(
    vectors: np.ndarray, folds: np.ndarray | None, pool: np.ndarray | None, alike: np.ndarray | None = None
) -> tuple[bytes, str]:
    """The bytes of `basis.safetensors` and their SHA-256."""
    from safetensors.numpy import save

    named = {"vectors": vectors, "folds": folds, "pool": pool}
    arrays: dict[str, np.ndarray] = {
        k: np.ascontiguousarray(v, dtype=np.float32) for k, v in named.items() if v is not None
    }
    if alike is not None:
        arrays["alike"] = np.ascontiguousarray(alike, dtype=np.int32)
    data = save(arrays)
    return data, f"sha256:{hashlib.sha256(data).hexdigest()}"


def open_basis(folder: Path) -> StoredBasis:
    """Read a basis from the bundle of `resonance basis`.

    Raises:
        UserError: no basis there. FormatError: record and tensors do not belong together.
    """
    from safetensors.numpy import load

    if not (folder / RECORD).is_file() or not (folder / TENSORS).is_file():
        raise UserError(
            f"{folder.name} holds no basis",
            expected=f"{RECORD} and {TENSORS}",
            fix="make one: radiograph resonance basis --kind …",
        )
    try:
        document = json.loads((folder / RECORD).read_bytes())
    except ValueError as error:
        raise FormatError(f"{RECORD} is not JSON", where=str(folder / RECORD), got=str(error)) from error
    record = Basis.read(document, str(folder / RECORD))
    data = (folder / TENSORS).read_bytes()
    found = f"sha256:{hashlib.sha256(data).hexdigest()}"
    if found != record.vectors_sha256:
        raise FormatError(
            "the vectors of the basis are not those of its record",
            where=str(folder / TENSORS),
            expected=record.vectors_sha256,
            got=found,
            fix="make the basis again",
        )
    arrays = load(data)
    vectors = arrays["vectors"].astype(np.float64)
    if vectors.shape != (len(record.labels), record.width):
        shape = f"{len(record.labels)} × {record.width}"
        raise FormatError("vectors of another shape", where=TENSORS, expected=shape, got=str(vectors.shape))
    folds, pool = (arrays[k].astype(np.float64) if k in arrays else None for k in ("folds", "pool"))
    return StoredBasis(record, vectors, folds, pool, arrays.get("alike"))
