"""The page of `probe pack`: which bases have probes that measure, and whether a pack holds what it says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def figures(document: Mapping[str, Any]) -> dict[str, bytes]:
    """None."""
    del document
    return {}


def view(document: Mapping[str, Any]) -> dict[str, Any]:
    """Checks by name."""
    return {"checks": {check["name"]: check for check in document["checks"]}}
