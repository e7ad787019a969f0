"""The page of `decompose cluster`: groups, how stable they are, and what chance gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MEMBERS = 12
GROUPS = 40


def figures(document: Mapping[str, Any]) -> dict[str, bytes]:
    """None: groups are lists."""
    del document
    return {}


def view(document: Mapping[str, Any]) -> dict[str, Any]:
    """The largest groups with their first members."""
    groups = document["groups"]
    return {
        "groups": [(g, g["members"][:MEMBERS], len(g["members"]) - MEMBERS) for g in groups[:GROUPS]],
        "more": max(0, len(groups) - GROUPS),
    }
