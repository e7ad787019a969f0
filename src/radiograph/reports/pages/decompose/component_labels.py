"""The page of `decompose label`: labels, their price, and what they are worth beside another's label and none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def figures(document: Mapping[str, Any]) -> dict[str, bytes]:
    """None: labels are words."""
    del document
    return {}


def view(document: Mapping[str, Any]) -> dict[str, Any]:
    """Labels with their scores."""
    scores: dict[str, list[Any]] = {}
    for score in document["scores"]:
        scores.setdefault(str(score["feature_id"]), []).append(score)
    labels = [(label, scores.get(str(label["component"]), [])) for label in document["labels"]]
    return {
        "labels": labels,
        "scored": bool(scores),
        "rules": any(x["rule_f1"] is not None for x in document["labels"]),
    }
