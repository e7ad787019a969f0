"""A file of labels, JSON Lines: `index` or an address as `feature_id`, and `label` or `description`."""

from __future__ import annotations

from pathlib import Path

from radiograph.core import FeatureAddress
from radiograph.store.lines import Mistakes, objects, read_lines


def read_labels(path: Path) -> dict[int, str]:
    """Number of each feature to its label.

    Raises:
        UserError: no such file. FormatError: every mistake, with its line.
    """
    mistakes = Mistakes(path.name)
    out: dict[int, str] = {}
    for lines in read_lines(path):
        for row, line in zip(*objects(lines, mistakes), strict=True):
            number = row.get("index", row.get("feature_index"))
            if number is None and isinstance(row.get("feature_id"), str):
                address = FeatureAddress.parse(row["feature_id"])
                number = None if address is None else address.unit if address.unit is not None else address.latent
            if isinstance(number, str) and number.isdigit():
                number = int(number)
            text = row.get("label", row.get("description"))
            if type(number) is not int or number < 0:
                mistakes.add(line, "no index, and no address as feature_id")
            elif not isinstance(text, str) or not text.strip():
                mistakes.add(line, "no label")
            elif number in out:
                mistakes.add(line, f"feature {number} has a label already")
            else:
                out[number] = text.strip()
    mistakes.raise_if_any()
    return out
