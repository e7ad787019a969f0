"""The page of a calibration: every score over the benign models, what kinds of change they are, what counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from radiograph.reports.pages.calibration._pool_figure import pool_figure

SHOWN = 40


def figures(document: Mapping[str, Any]) -> dict[str, bytes]:
    """`scores`: each detector's distribution; `support`: the coordinates of a change."""
    drawn = {
        "scores": pool_figure(_scores(document), "scores", "Scores of the benign fine-tunes, a row a detector"),
        "support": pool_figure(_support(document), "support", "What kinds of change the benign fine-tunes are"),
    }
    return {name: image for name, image in drawn.items() if image is not None}


def view(document: Mapping[str, Any]) -> dict[str, Any]:
    """Families with their sizes, rules, and rows of models."""
    models = document["models"]
    adapters = sum(m["kind"] == "adapter" for m in models)
    families = Counter(m["family"] or "no family" for m in models)
    return {
        "n": str(len(models)),
        "floor": f"{1 / (len(models) + 1):.3g}",
        "families": [(name, str(n)) for name, n in sorted(families.items(), key=lambda kv: (-kv[1], kv[0]))],
        "adapters": str(adapters),
        "full": str(len(models) - adapters),
        "rules": document["rules"],
        "models": models[:SHOWN],
        "left_out": str(len(models) - SHOWN) if len(models) > SHOWN else "",
    }


def _scores(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for rule in document["rules"]:
        own = document["fitted"].get(rule["id"]) if rule["fitted"] else None
        values = own or [m["scores"].get(rule["id"]) for m in document["models"]]
        benign = [v for v in values if v is not None]
        if benign:
            rows.append({"id": rule["id"], "scale": rule["scale"], "benign": benign, "frozen": rule["frozen"]})
    return rows


def _support(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    names = list(dict.fromkeys(name for m in document["models"] for name in m["nuisance"]))
    return [
        {
            "id": name,
            "scale": "linear" if name == "changed_share" else "log",
            "benign": [m["nuisance"][name] for m in document["models"] if name in m["nuisance"]],
            "frozen": True,
        }
        for name in names
    ]
