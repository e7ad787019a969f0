"""The page of `steer contrast`: the direction, how well it separates, and what pushing along it does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radiograph.reports.pages.features.effects import drawn, seen


def figures(document: Mapping[str, Any]) -> dict[str, bytes]:
    """Those of the effects."""
    return drawn(document["effects"])


def view(document: Mapping[str, Any]) -> dict[str, Any]:
    """What the effects need, and the chosen direction."""
    chosen = [one for one in document["fitted"] if one["chosen"]]
    return {**seen(document["effects"]), "chosen": chosen[0]}
