"""The truth about organisms: one file each, beside the model folders and never inside them. No torch."""

from __future__ import annotations

import json
from pathlib import Path

from radiograph.core import FormatError
from radiograph.evidence import OrganismTruth

ADAPTER, MODEL = "adapter_config.json", "config.json"
"""What a model folder holds: one of them."""
RECIPE = "recipe.json"
"""What an adapter that was made for a calibration was trained with."""


def model_folders(folder: Path) -> list[Path]:
    """Every model folder, by name; what a build is at begins with a dot and is none."""
    inside = (p for p in sorted(folder.iterdir()) if not p.name.startswith("."))
    return [p for p in inside if (p / ADAPTER).is_file() or (p / MODEL).is_file()]


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
