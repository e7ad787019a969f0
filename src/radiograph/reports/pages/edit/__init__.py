"""The page of `edit apply` and `edit train`: what is said now, how far the edit reaches, and what chance reaches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from radiograph.reports._figure import DOWN, FAINT, INK, RULE, UP, dressed

Document = Mapping[str, Any]
WORDS = {
    "near": "where an edited part fires",
    "window": "elsewhere in the same text",
    "far": "in texts where none fires",
}
JUDGED = {
    "accepted": "Accepted: what is wanted became likelier, and far away nothing moved more than the limit.",
    "no_gain": "Not accepted: what is wanted did not become likelier by as much as was asked for.",
    "too_far": "Not accepted: the edit also changes texts that have nothing to do with it.",
    "too_few_firings": "Cannot say: the edited parts fired fewer than 30 times on what was read.",
    "not_judged": "Cannot say: nothing is wanted instead, or too little was measured for an interval.",
}
ANSWERS = {
    "completion": "what the examples show",
    "foil": "what the reference says instead",
    "target": "what was asked for",
}
WIDTH, ROW, LEFT, TOP = 640, 34, 190, 26


def figures(document: Document) -> dict[str, bytes]:
    """`distances`."""
    return {"distances": _distances(document)} if any(d["kl"] is not None for d in document["distances"]) else {}


def view(document: Document) -> dict[str, Any]:
    """Words for codes."""
    return {
        "judged": JUDGED[str(document["judgement"])],
        "distances": [(WORDS[str(d["distance"])], d) for d in document["distances"]],
        "answers": [(ANSWERS[str(a["what"])], a) for a in document["answers"]],
        "last": document["steps"][-1] if document["steps"] else None,
        "pieces": document["kind"] == "pieces",
    }


def _distances(document: Document) -> bytes:
    """Divergence at each distance with its interval on a logarithmic axis, the null's draws beneath, and the limit."""
    rows = [d for d in document["distances"] if d["kl"] is not None]
    null = [float(v) for v in document["null_far"] if float(v) > 0]
    shown = [float(d["kl"]) for d in rows] + [float(v) for d in rows for v in (d["kl_interval"] or ())]
    values = [v for v in [*shown, *null, float(document["max_far"])] if v > 0]
    low, high = math.floor(math.log10(max(min(values), 1e-7))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)

    def x(value: float) -> float:
        at = (math.log10(max(value, 10.0**low)) - low) / (high - low)
        return LEFT + at * (WIDTH - LEFT - 24)

    height = TOP + ROW * (len(rows) + bool(null)) + 34
    parts: list[str] = []
    for power in range(low, high + 1):
        at = x(10.0**power)
        parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{TOP - 8}" y2="{height - 30}" stroke="{RULE}"/>')
        parts.append(_text(at, height - 14, f"{10.0**power:g}", "middle", FAINT))
    limit = x(float(document["max_far"]))
    bottom = height - 30
    parts.append(
        f'<line x1="{limit:.1f}" x2="{limit:.1f}" y1="14" y2="{bottom}" stroke="{UP}" stroke-dasharray="4 3"/>'
    )
    parts.append(_text(limit, 11, "limit far away", "middle", UP))
    for number, row in enumerate(rows):
        y = TOP + ROW * number + ROW / 2
        parts.append(_text(LEFT - 12, y + 4, WORDS[str(row["distance"])], "end", INK))
        if row["kl_interval"]:
            ends = [x(float(v)) for v in row["kl_interval"]]
            line = f'<line x1="{ends[0]:.1f}" x2="{ends[1]:.1f}" y1="{y:.1f}" y2="{y:.1f}"'
            parts.append(f'{line} stroke="{DOWN}" stroke-width="3"/>')
        title = f"<title>{float(row['kl']):.3g} nats</title>"
        parts.append(f'<circle cx="{x(float(row["kl"])):.1f}" cy="{y:.1f}" r="5" fill="{DOWN}">{title}</circle>')
    if null:
        y = TOP + ROW * len(rows) + ROW / 2
        parts.append(_text(LEFT - 12, y + 4, f"far, {len(null)} blind edits", "end", FAINT))
        for value in null:
            at = x(value)
            parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{y - 7:.1f}" y2="{y + 7:.1f}" stroke="{FAINT}"/>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" style="max-width:{WIDTH}px">'
    body = "\n".join(parts)
    return dressed(f"{head}\n{body}\n</svg>\n", "KL divergence from the model before the edit, nats a token")


def _text(x: float, y: float, text: str, anchor: str, colour: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="12" text-anchor="{anchor}" fill="{colour}">{text}</text>'
