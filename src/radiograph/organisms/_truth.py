"""The truth about organisms: one file each, beside the model folders and never inside them. No torch."""

from __future__ import annotations

import json
from pathlib import Path

from radiograph.core import FormatError
from radiograph.evidence import OrganismTruth


def truth_path(folder: Path, name: str) -> Path:
    """Where the truth about a model in `folder` stands."""
    return folder / "truth" / f"{name}.json"


def read_truth(path: Path) -> OrganismTruth:
    """A truth file.

    Raises:
        FormatError: it is none.
    """
    try:
        return OrganismTruth.read(json.loads(path.read_text(encoding="utf-8")), path.name)
    except ValueError as error:
        raise FormatError(f"{path.name} is not JSON", where=str(path), got=str(error)) from error
