"""Named directions and subspaces of a site, from a safetensors file.

Every tensor is one: a vector, or a matrix whose rows span a subspace. A basis (`vectors`, with the names of its rows in
the JSON file beside it) gives one direction a row, by its label and by its number: a label with spaces, or with a sign
that a write uses, cannot stand in one.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from radiograph.core import FormatError, UserError


def read_directions(path: Path) -> dict[str, np.ndarray]:
    """Name to vector or matrix.

    Raises:
        UserError: a vector that is zero or not finite. FormatError: not such a file.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        held = load_file(path)
    except (SafetensorError, OSError) as error:
        raise FormatError(
            "not a file of directions", where=path.name, expected="safetensors", got=str(error)
        ) from error
    beside = path.with_suffix(".json")
    if set(held) >= {"vectors"} and beside.is_file():
        labels = json.loads(beside.read_bytes()).get("labels")
        if isinstance(labels, list) and len(labels) == len(held["vectors"]):
            rows = held["vectors"]
            # A label that is itself a number keeps its own vector.
            held = {str(number): row for number, row in enumerate(rows)} | dict(
                zip(map(str, labels), rows, strict=True)
            )
    for name, value in held.items():
        rows = np.atleast_2d(value)
        lengths = np.linalg.norm(rows, axis=-1)
        if value.ndim > 2 or not np.isfinite(lengths).all() or not lengths.all():
            raise UserError(
                f"{name} of {path.name} is no direction",
                expected="a vector, or a matrix of rows, finite and not zero",
                got=f"shape {list(value.shape)}, row {int(np.argmin(np.where(np.isfinite(lengths), lengths, -1)))}",
                code="bad_direction",
            )
    return held
