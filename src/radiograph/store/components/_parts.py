"""Named arrays in one file that is whole or absent: what a worker commits, and what is read back to be added."""

from __future__ import annotations

import json
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from radiograph.core import FormatError
from radiograph.store._atomic import write_whole

_FACTS = "facts"


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> str:
    """Write; `facts` is plain data. Returns the SHA-256.

    Raises:
        RadiographError: the disk refuses.
    """
    buffer = BytesIO()
    stated = np.frombuffer(json.dumps(dict(facts), sort_keys=True).encode(), np.uint8)
    np.savez(buffer, allow_pickle=False, **{_FACTS: stated, **arrays})  # type: ignore[arg-type]
    with buffer.getbuffer() as data:
        return write_whole(path, (data,), len(data))


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and facts.

    Raises:
        FormatError: not such a file.
    """
    try:
        with np.load(path, allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
        return arrays, json.loads(arrays.pop(_FACTS).tobytes())
    except (OSError, ValueError, KeyError) as error:
        raise FormatError("not a part of a harvest", where=path.name, got=str(error)) from error
