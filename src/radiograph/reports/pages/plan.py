"""The page of `plan`: does it fit, what it takes, what could go wrong, what to type next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SECTIONS = {
    "storage": "Storage",
    "memory": "Memory",
    "compute": "Compute",
    "time": "Time",
    "cost": "Cost",
}


def figures(document: Mapping[str, Any]) -> dict[str, bytes]:
    """None: a plan is a table."""
    del document
    return {}


def view(document: Mapping[str, Any]) -> dict[str, Any]:
    """Quantities by section, and the flags that decide."""
    quantities = list(document["quantities"].values())
    sections = [(title, [q for q in quantities if q["section"] == name]) for name, title in SECTIONS.items()]
    return {
        "sections": [(title, rows) for title, rows in sections if rows],
        "high": [risk for risk in document["risks"] if risk["level"] == "high"],
        "assumed": any(q["origin"] == "assumed" for q in quantities),
    }
