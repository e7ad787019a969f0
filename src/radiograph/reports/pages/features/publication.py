"""The page of `publish`: what was found that must not leave, and every file with its hash."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radiograph.evidence.publication import LEAKS


def figures(document: Mapping[str, Any]) -> dict[str, bytes]:
    """None."""
    del document
    return {}


def view(document: Mapping[str, Any]) -> dict[str, Any]:
    """What each kind of finding means."""
    kinds = {leak["kind"] for leak in document["leaks"]}
    return {"means": {kind: words for kind, words in LEAKS.items() if kind in kinds}}
