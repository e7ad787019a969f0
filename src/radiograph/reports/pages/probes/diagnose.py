"""The page of `diagnose`: what was not measured, then a bar with its interval for each mode; and the badge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import escape

from radiograph.reports._figure import CANDIDATE, FAINT, INK, REFERENCE
from radiograph.reports._sketch import Plot

TONES = {"OK": "#2f7d4f", "MINOR": "#b7791f", "MAJOR": "#b03a2e", "INCONCLUSIVE": "#6b7280"}
GREY = "#8a8f98"
GATE_FAILED = 2
MODES = {
    "forgetting": "still solves what the reference solves",
    "refusal": "refuses what the reference refuses, and no more",
    "format": "writes the form that is asked for",
    "mode_collapse": "answers in as many ways as the reference",
    "memorisation": "does not give its training rows back",
    "contamination": "was not trained on the benchmark",
    "citation": "cites the right documents",
}


def figures(document: Mapping[str, Any]) -> dict[str, bytes]:
    """`modes`: scores with intervals, and where the bands begin; `badge`."""
    drawn = {"badge": badge(document)}
    rows = [m for m in document["modes"] if m["status"] == "measured"]
    if rows:
        plot = Plot(
            (0, 1.35), (0, len(rows)), "score, with its 95 % interval; dashed: MINOR from .60, OK from .85", "modes"
        )
        for edge in (0.60, 0.85):
            plot.line([(edge, 0), (edge, len(rows))], FAINT, dashed=True)
        for number, mode in enumerate(reversed(rows)):
            y = number + 0.5
            colour = CANDIDATE if mode["band"] in ("MAJOR", "INCONCLUSIVE") else REFERENCE
            plot.line([(mode["low"], y), (mode["high"], y)], INK)
            plot.points([(mode["score"], y)], colour, 5, [f"{mode['mode']}: {mode['score']:.3f}"])
            plot.note(1.02, y, f"{mode['mode']}: {mode['band']}")
        drawn["modes"] = plot.svg("Scores of the modes that were measured")
    return drawn


def view(document: Mapping[str, Any]) -> dict[str, Any]:
    """What was not measured first; the others worst first."""
    modes = document["modes"]
    return {
        "words": MODES,
        "missing": [m for m in modes if m["status"] == "not_measured"],
        "measured": sorted((m for m in modes if m["status"] == "measured"), key=lambda m: m["score"]),
        "failed": [a for a in document["attached"] if a["exit_code"] == GATE_FAILED],
        "supplied": [m for m in modes if m["status"] == "supplied"],
    }


def badge(document: Mapping[str, Any]) -> bytes:
    """Worst band and how much was measured; grey when nothing was. No font, script or link of elsewhere."""
    band, count = document["overall"], f"{document['measured']} of {len(document['modes'])} measured"
    says = f"{band}, {count}" if band else "nothing measured"
    colour = TONES.get(band, GREY)
    if failed := sum(one["exit_code"] == GATE_FAILED for one in document["attached"]):
        says, colour = f"{says}, {failed} attached MAJOR", TONES["MAJOR"]
    left, right = 66, 7 * len(says) + 16
    width = left + right
    text = f"radiograph: {says}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" aria-label="{escape(text)}">'
        f"<title>{escape(text)}</title>"
        f'<rect width="{left}" height="20" fill="#3b3f46"/>'
        f'<rect x="{left}" width="{right}" height="20" fill="{colour}"/>'
        f'<g fill="#fff" font-family="sans-serif" font-size="11" text-anchor="middle">'
        f'<text x="{left / 2:.0f}" y="14">radiograph</text>'
        f'<text x="{left + right / 2:.0f}" y="14" textLength="{right - 14}">{escape(says)}</text></g></svg>\n'
    ).encode()
