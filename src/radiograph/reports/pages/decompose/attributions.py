"""The page of `decompose attribute`: which weights act on which, and the strongest effects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def figures(document: Mapping[str, Any]) -> dict[str, bytes]:
    """None: effects are lists."""
    del document
    return {}


def view(document: Mapping[str, Any]) -> dict[str, Any]:
    """For each weight that acts, the weights that it acts on directly."""
    found: dict[str, list[str]] = {}
    for source, target in document["connected"]:
        found.setdefault(source, []).append(target)
    return {"connected": list(found.items())}
