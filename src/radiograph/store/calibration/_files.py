"""A calibration as files: `result.json` of the run that made it (`calibration.json` where it ships with the package),
and `summaries.safetensors` beside it, one array per fitted detector, [model, …].

What is stored is what is used: a shipped calibration keeps its arrays in half precision, and a candidate's own summary
is rounded in the same way before it joins them. Scores are never rounded: a candidate that ties must go on tying. The
hash of each array stands in the document. A calibration's own hash leaves out what a benchmark found that it misses:
the benchmark names the calibration that it judged by, and no p depends on it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from radiograph.core import FormatError, UserError
from radiograph.evidence import Calibration, canonical_json, document_sha256
from radiograph.store import finished

SUMMARIES = "summaries.safetensors"
SHIPPED = "calibration.json"
_RESULT = "result.json"


@dataclass(frozen=True, eq=False)
class StoredCalibration:
    """A calibration, and where it came from."""

    name: str
    record: Calibration
    summaries: dict[str, np.ndarray]
    sha256: str


def array_sha256(array: np.ndarray) -> str:
    """Of shape, type and bytes."""
    head = f"{array.dtype.str}{list(array.shape)}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()


def summaries_bytes(summaries: Mapping[str, np.ndarray]) -> bytes:
    """The file beside the document."""
    from safetensors.numpy import save

    return save({name: np.ascontiguousarray(array) for name, array in summaries.items()})


def read_calibration(folder: Path, name: str) -> StoredCalibration:
    """Read the folder of a run of `calibrate`, or of one that ships.

    Raises:
        UserError: it is not there, or its run did not end.
        FormatError: it is no calibration, it is not what its run wrote, or its arrays are not those of its document.
    """
    document = _document(folder, name)
    if not (folder / SHIPPED).is_file():
        finished(folder)  # verdicts rest on every score of its document
    record = Calibration.read(document, name)
    summaries = _summaries(folder / SUMMARIES, name)
    for key, sha256 in record.summaries.items():
        array = summaries.get(key)
        if array is None or len(array) != record.n or array_sha256(array) != sha256:
            raise FormatError(
                f"{name}: the array of {key} is not the one of its document",
                expected=f"{record.n} models, hash {sha256[:16]}",
                got="no such array" if array is None else f"{len(array)} models, hash {array_sha256(array)[:16]}",
            )
    return StoredCalibration(name, record, {k: summaries[k] for k in record.summaries}, calibration_sha256(record))


def fitting_calibration(folders: Iterable[tuple[str, Path]], reference_sha256: str) -> StoredCalibration | None:
    """The first that was made of this reference."""
    for name, folder in folders:
        try:
            document = _document(folder, name)
        except UserError:
            continue
        if document.get("binding", {}).get("reference_sha256") == reference_sha256:
            return read_calibration(folder, name)
    return None


def calibration_sha256(record: Calibration) -> str:
    """Of everything but `misses`."""
    return document_sha256(record.model_copy(update={"misses": ()}))


def write_shipped(folder: Path, stored: StoredCalibration) -> None:
    """Write a calibration as it ships: compact, arrays in half precision."""
    record, halves = compact(stored)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SHIPPED).write_bytes(canonical_json(record) + b"\n")
    (folder / SUMMARIES).write_bytes(summaries_bytes(halves))


def compact(stored: StoredCalibration) -> tuple[Calibration, dict[str, np.ndarray]]:
    """A calibration and its arrays as they ship.

    Raises:
        UserError: a value is too large for half precision.
    """
    halves = {name: array.astype(np.float16) for name, array in stored.summaries.items()}
    for name, array in halves.items():
        if not np.isfinite(array).all():
            raise UserError(
                f"{name} does not fit into half precision", got=f"up to {np.abs(stored.summaries[name]).max()}"
            )
    record = stored.record.model_copy(
        update={
            "summaries": {name: array_sha256(array) for name, array in halves.items()},
            "fitted": {},
        }
    )
    return record, halves


def _document(folder: Path, name: str) -> dict[str, Any]:
    path = next((folder / f for f in (SHIPPED, _RESULT) if (folder / f).is_file()), None)
    if path is None:
        raise UserError(
            f"{name} holds no calibration",
            expected="the folder of a run of `radiograph calibrate`",
            fix="make one: radiograph calibrate REFERENCE --benign …",
            code="calibration_not_found",
        )
    try:
        document = json.loads(path.read_bytes())
    except ValueError as error:
        raise FormatError(f"{name}: {path.name} is no JSON", got=str(error)) from error
    if not isinstance(document, dict):
        raise FormatError(f"{name}: {path.name} is not a JSON object")
    return document


def _summaries(path: Path, name: str) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if not path.is_file():
        return {}
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise FormatError(f"{name}: {path.name} cannot be read", got=str(error)) from error
