"""The page of `plan`: does it fit, what it takes, what could go wrong, what to type next; then every formula."""

from __future__ import annotations

from collections.abc import Mapping
from math import log10
from typing import Any

Document = Mapping[str, Any]
SECTIONS = {
    "storage": "Storage",
    "memory": "Memory",
    "compute": "Compute",
    "time": "Time",
    "cost": "Cost",
}
FACTS = {
    "asked": "What was asked",
    "machine": "The machine",
}
TILES = (
    ("storage", "dense_bytes", "shards", "shards"),
    ("memory, harvest", "harvest_memory", "machine_memory", "in a machine"),
    ("memory, training", "training_peak", "machine_memory", "in a machine"),
    ("time, all stages", "total_time", "machines", "machines"),
    ("money, machines", "compute_cost", "price_hour", "an hour"),
    ("money, storage", "storage_cost", "price_storage", "a GB and month"),
)
WORDS = {
    "dense_exceeds_disk": "The disk is too small",
    "dense_exceeds_profile": "The profile is not meant for this much",
    "model_does_not_fit": "The model does not fit",
    "memory_exceeds_ram": "Not enough memory",
    "memory_exceeds_vram": "Not enough memory on an accelerator",
    "few_rows_per_feature": "Too little text",
}
"""Flags that can be high, as a headline says them."""
STAGES = ("harvest_time", "training_time", "causal_time", "total_time")


def figures(document: Document) -> dict[str, bytes]:
    """None: the bars of the page are boxes of its own."""
    del document
    return {}


def view(document: Document) -> dict[str, Any]:
    """Quantities by section, the tiles of the first screen, bars of time, and the flags that decide."""
    quantities: Document = document["quantities"]
    return {
        "sections": _by_section(quantities, SECTIONS),
        "facts": _by_section(quantities, FACTS),
        "tiles": [tile for tile in TILES if tile[1] in quantities],
        "bars": _bars(quantities),
        "high": [(WORDS[risk["code"]], risk["text"]) for risk in document["risks"] if risk["level"] == "high"],
        "assumed": any(q["origin"] == "assumed" and q["value"] is None for q in quantities.values()),
    }


def _by_section(quantities: Document, titles: Mapping[str, str]) -> list[tuple[str, list[tuple[str, Document]]]]:
    found = [(title, [(n, q) for n, q in quantities.items() if q["section"] == key]) for key, title in titles.items()]
    return [(title, rows) for title, rows in found if rows]


def _bars(quantities: Document) -> list[dict[str, Any]]:
    """Left end and width of each stage in percent of a logarithmic axis of time."""
    stages = [(name, quantities[name]) for name in STAGES if name in quantities]
    floor = min(max(q["low"], 1e-3) for _, q in stages) / 2
    span = log10(max(q["high"] for _, q in stages) / floor) or 1.0

    def place(seconds: float) -> float:
        return 100 * log10(max(seconds, floor) / floor) / span

    return [
        {"name": name, "label": q["label"], "left": f"{place(q['low']):.1f}",
         "width": f"{max(place(q['high']) - place(q['low']), 0.8):.1f}"}
        for name, q in stages
    ]  # fmt: skip
