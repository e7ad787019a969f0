"""The page of `probe defection`, `truth` and `harm`: the band, what it stands on, and the rows that score highest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radiograph.reports._figure import CANDIDATE, INK, REFERENCE, drawing, svg

STAMPS = {
    "origin_declared": "nothing but what was declared says that this comes from the model of the probe",
    "site_declared": "the stored rows do not say which site they are of: that of the probe is assumed",
    "clusters_assumed": "nothing says which rows belong together: blocks of rows are groups, neighbours not alike",
    "rows_as_prompts": "nothing says which rows belong together: every row is taken for a prompt",
    "reads_text": "words, or the embedding, tell the classes of its contrast apart as well as the probe",
}


def figures(document: Mapping[str, Any]) -> dict[str, bytes]:
    """`scores`: the evidence over the calibration negatives."""
    bins = document["histogram"]
    with drawing(10.8, 3.2) as figure:
        axes = figure.subplots()
        edges = [b[0] for b in bins] + [bins[-1][1]]
        if any(b[3] for b in bins):
            axes.stairs([b[3] for b in bins], edges, color=REFERENCE, linewidth=1.6, label="calibration negatives")
        axes.stairs([b[2] for b in bins], edges, color=CANDIDATE, linewidth=1.8, label="this evidence")
        if document["threshold"] is not None:
            axes.axvline(document["threshold"], color=INK, linewidth=1.2, linestyle=(0, (3, 2)))
        axes.set_xlabel("score; dashed: the threshold")
        axes.set_ylabel("share of rows")
        axes.legend(frameon=False)
        return {"scores": svg(figure, "scores", "Scores of the evidence over those of calibration negatives")}


def view(document: Mapping[str, Any]) -> dict[str, Any]:
    """Stamps in words, and what a row is called."""
    return {
        "stamps": [STAMPS.get(name, name.replace("_", " ")) for name in document["stamps"]],
        "unit": "tokens" if document["level"] == "token" else "texts",
        "texts": any(row["text"] for row in document["top"]),
    }
