"""Groups and labels of components, as runs of `decompose cluster` and `decompose label` left them."""

from __future__ import annotations

from pathlib import Path

from radiograph.core import Refusal
from radiograph.evidence.components import ComponentClusters, ComponentLabels
from radiograph.store._bundle import complete


def open_clusters(folder: Path, decomposition_sha256: str) -> ComponentClusters:
    """Groups of a decomposition.

    Raises:
        UserError: unfinished, or nothing there. FormatError: another kind of bundle. Refusal: of another decomposition.
    """
    found, _ = complete(folder, ComponentClusters, what="holds no groups", made_by="decompose cluster")
    _same("groups are", found.decomposition_sha256, decomposition_sha256)
    return found


def open_component_labels(folder: Path, decomposition_sha256: str) -> ComponentLabels:
    """Labels of a decomposition. Raises as `open_clusters`."""
    found, _ = complete(folder, ComponentLabels, what="holds no labels", made_by="decompose label")
    _same("labels are", found.decomposition_sha256, decomposition_sha256)
    return found


def _same(what: str, got: str, expected: str) -> None:
    if got != expected:
        raise Refusal(
            "decomposition_mismatch",
            f"the {what} of another decomposition",
            expected=expected,
            got=got,
            fix="give a run on this decomposition",
            fixable=True,
        )
