"""The page of `edit undo`: what is back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def figures(document: Mapping[str, Any]) -> dict[str, bytes]:
    """None."""
    del document
    return {}


def view(document: Mapping[str, Any]) -> dict[str, Any]:
    """Nothing has to be sorted."""
    del document
    return {}
