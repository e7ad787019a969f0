"""The page of `resonance compare`: arrows from before to after, and how sure they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radiograph.reports.pages.resonance import _figures

Document = Mapping[str, Any]


def figures(document: Document) -> dict[str, bytes]:
    """`arrows`."""
    drawn = _figures.arrows(document)
    return {} if drawn is None else {"arrows": drawn}


def view(document: Document) -> dict[str, Any]:
    """Whether some movement was split by the reference's text, and whether there are controls."""
    split = any(row["direct"] is not None for row in document["moved"])
    return {"split": split, "controls": any(document["controls"].values())}
