"""The page of `weights diff`: a map of the changes, the matrices that changed most, the tokens that moved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radiograph.reports.pages._audit_figures import weight_changes
from radiograph.reports.pages.audit import changed_matrices


def figures(document: Mapping[str, Any]) -> dict[str, bytes]:
    """`weight_changes`, if anything changed."""
    drawn = weight_changes(document)
    return {} if drawn is None else {"weight_changes": drawn}


def view(document: Mapping[str, Any]) -> dict[str, Any]:
    """The rows of the table."""
    return {"matrices": changed_matrices(document["weights"])}
