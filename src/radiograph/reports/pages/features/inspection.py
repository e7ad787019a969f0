"""The page of `inspect`: what was found among how many, then a card for each of the best features.

Drawn by hand as SVG and boxes: twenty cards cost a tenth of a second, and the page needs no script. Heights are shares
of the rows of a kind, so that kinds of different size compare.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]
KINDS = {"positive": "positives", "near_miss": "near misses", "negative": "negatives"}
GRADE_WORDS = {
    "none": "no association",
    "candidate": "not confirmed",
    "confirmed": "confirmed on held-out groups",
    "specific": "confirmed, and not by form alone",
    "robust": "confirmed, specific, and stable over halves",
    "untested": "not tested",
    "no_effect": "no effect",
    "effect": "an effect",
    "beyond_controls": "an effect beyond every control",
    "validated": "an effect beyond every control, growing with the dose",
}
ROLES = {
    "top": "Strongest",
    "decile": "One from each tenth of its values",
    "near_miss_fires": "Near misses on which it fires",
    "near_miss_silent": "Near misses on which it is silent",
}
STATISTICS = {
    "auroc": "AUROC",
    "pairs": "share of pairs with the positive larger",
    "spearman": "Spearman's ρ",
}
NULL_AT = {"auroc": 0.5, "pairs": 0.5, "spearman": 0.0}
_WIDTH, _HALF = 340.0, 64.0
_LISTED = 60
_CURVE = (300.0, 110.0)


def figures(_: Document) -> dict[str, bytes]:
    """None: every drawing belongs to a card."""
    return {}


def view(document: Document) -> dict[str, Any]:
    """Findings in rows, cards with their drawings."""
    of = {finding["feature"]: finding for finding in document["correlational"]["findings"]}
    effects: dict[str, list[Any]] = {}
    for finding in document["causal"]["findings"]:
        effects.setdefault(finding["feature"], []).append(finding)
    carded = [card["feature"] for card in document["cards"]]
    findings = document["correlational"]["findings"]
    name = findings[0]["statistic"]["name"] if findings else "auroc"
    shared = [code for code in findings[0]["codes"] if all(code in f["codes"] for f in findings)] if findings else []
    return {
        "anchors": {feature: f"card-{place}" for place, feature in enumerate(carded)},
        "statistic": STATISTICS[name],
        "rows": [_row(finding, shared) for finding in findings[:_LISTED]],
        "rows_left": max(0, len(findings) - _LISTED),
        "scale": _scale(name),
        "cards": [
            _card(card, of.get(card["feature"]), effects.get(card["feature"], []), shared) for card in document["cards"]
        ],
        "grade_words": GRADE_WORDS,
        "kinds": KINDS,
        "codes": _codes(document),
        "shared": shared,
        "grades": _grades(document),
    }


def _grades(document: Document) -> list[tuple[str, Any, str]]:
    return [(grade, count, GRADE_WORDS.get(grade, "")) for grade, count in document["grades"].items()]


def _codes(document: Document) -> list[tuple[str, str]]:
    """Every code on the page with its meaning."""
    from radiograph.evidence.features import CODES

    every = [*document["correlational"]["findings"], *document["causal"]["findings"], *document["claims"]]
    seen = {str(code) for one in every for code in one["codes"]}
    return [(code, text) for code, text in CODES.items() if code in seen]


def _scale(name: str) -> dict[str, Any]:
    low = -1.0 if name == "spearman" else 0.0
    return {"low": low, "null": _at(NULL_AT[name], low), "ticks": [low, NULL_AT[name], 1.0]}


def _at(value: float, low: float) -> str:
    """Place on a scale from `low` to 1, in percent of its width."""
    return f"{100 * (value - low) / (1 - low):.2f}"


def _row(finding: Document, shared: Sequence[str]) -> dict[str, Any]:
    statistic = finding["statistic"]
    low = -1.0 if statistic["name"] == "spearman" else 0.0
    interval = statistic["interval"]
    near = finding["near_miss"]
    return {
        "finding": finding,
        "place": _at(statistic["estimate"], low),
        "from": None if interval is None else _at(interval[0], low),
        "width": None if interval is None else f"{100 * (interval[1] - interval[0]) / (1 - low):.2f}",
        "discover": _at(finding["discover"]["estimate"], low),
        "near": near,
        "codes": [code for code in finding["codes"] if code not in shared],
    }


def _card(
    card: Document, finding: Document | None, effects: Sequence[Document], shared: Sequence[str]
) -> dict[str, Any]:
    largest = max((c["mean_active"] or 0 for c in card["classes"]), default=0)
    return {
        "card": card,
        "finding": finding,
        "effects": effects,
        "codes": [] if finding is None else [code for code in finding["codes"] if code not in shared],
        "histogram": _histogram(card),
        "classes": [_class(one) for one in card["classes"]],
        "largest": largest,
        "contexts": _contexts(card),
        "curve": None if card["response"] is None else _curve(card["response"]),
    }


def _class(one: Document) -> dict[str, Any]:
    share = one["active"] / one["rows"] if one["rows"] else 0.0
    return {"held": one, "name": KINDS[one["kind"]], "width": f"{100 * share:.1f}"}


def _histogram(card: Document) -> dict[str, Any] | None:
    """Positives above the line, near misses and negatives below it."""
    found = card["histogram"]
    if found is None or not found["bars"]:
        return None
    rows = {one["kind"]: one["rows"] for one in card["classes"]}
    totals = [max(1, rows.get(kind, 0)) for kind in KINDS]
    shares = [[count / total for count, total in zip(bar["counts"], totals, strict=True)] for bar in found["bars"]]
    top = max((max(own) for own in shares), default=0.0) or 1.0
    step = _WIDTH / len(shares)
    boxes: list[dict[str, str]] = []
    for place, (own, bar) in enumerate(zip(shares, found["bars"], strict=True)):
        for kind, share, count in zip(KINDS, own, bar["counts"], strict=True):
            if not share:
                continue
            height = max(1.0, _HALF * share / top)
            narrow = 0.42 if kind == "near_miss" else 0.86
            boxes.append(
                {
                    "kind": kind,
                    "x": f"{place * step + (1 - narrow) * step / 2:.1f}",
                    "w": f"{narrow * step:.1f}",
                    "y": f"{_HALF - height if kind == 'positive' else _HALF + 1:.1f}",
                    "h": f"{height:.1f}",
                    "says": f"{KINDS[kind]}: {count} rows, {bar['low']:.3g} to {bar['high']:.3g}",
                }
            )
    edges = [float(found["bars"][0]["low"]), float(found["bars"][-1]["high"])]
    middle = math.sqrt(edges[0] * edges[1]) if found["logarithmic"] else sum(edges) / 2
    return {
        "boxes": boxes,
        "ticks": [f"{edges[0]:.2g}", f"{middle:.2g}", f"{edges[1]:.2g}"],
        "top": f"{100 * top:.0f} %",
    }


def _contexts(card: Document) -> list[dict[str, Any]]:
    """Contexts by role, every token with its shade."""
    top = max((abs(v) for c in card["contexts"] for v in (*c["values"], c["value"])), default=0.0) or 1.0
    out: list[dict[str, Any]] = []
    for role, words in ROLES.items():
        own = [c for c in card["contexts"] if c["role"] == role]
        if own:
            out.append({"role": role, "words": words, "rows": [_context(c, top) for c in own]})
    return out


def _context(context: Document, top: float) -> dict[str, Any]:
    values = context["values"]
    tokens: list[dict[str, Any]] = []
    for i, token in enumerate(context["tokens"]):
        value = float(values[i]) if values else 0.0
        shade = abs(value) / top
        tokens.append(
            {
                "text": str(token),
                "shade": f"{shade:.2f}" if shade >= 0.02 else None,
                "says": f"{value:.3g}",
                "peak": context["peak"] == i,
            }
        )
    return {"held": context, "tokens": _joined(tokens), "kind": context["kind"]}


def _joined(tokens: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Neighbouring silent tokens as one piece of text."""
    out: list[dict[str, Any]] = []
    for token in tokens:
        plain = token["shade"] is None and not token["peak"]
        if out and plain and out[-1]["shade"] is None and not out[-1]["peak"]:
            out[-1] = {**out[-1], "text": out[-1]["text"] + token["text"]}
        else:
            out.append(token)
    return out


def _curve(response: Document) -> dict[str, Any]:
    """Dose-response in a box of fixed size, the band of controls behind it."""
    points = response["points"]
    doses = [float(p["dose"]) for p in points]
    every = [0.0]
    for p in points:
        every += [float(p["effect"]), *(map(float, p["interval"]) if p["interval"] else ())]
        if p["band"] is not None:
            every += [float(p["band"]["low"]), float(p["band"]["high"])]
    width, height = _CURVE
    low, high = min(every), max(every)
    spread = (high - low) or 1.0
    left, right = min(0.0, *doses), max(0.0, *doses)
    wide = (right - left) or 1.0

    def x(value: float) -> str:
        return f"{6 + (width - 12) * (value - left) / wide:.1f}"

    def y(value: float) -> str:
        return f"{6 + (height - 12) * (high - value) / spread:.1f}"

    marks = [
        {
            "x": x(float(p["dose"])),
            "y": y(float(p["effect"])),
            "low": None if p["interval"] is None else y(float(p["interval"][0])),
            "high": None if p["interval"] is None else y(float(p["interval"][1])),
            "says": f"dose {p['dose']:g}: {p['effect']:.3g} over {p['groups']} groups",
        }
        for p in points
    ]
    bands = [p["band"] for p in points if p["band"] is not None]
    band = None
    if bands:
        edge = max(float(b["high"]) for b in bands)
        band = {"y": y(edge), "h": f"{(height - 12) * 2 * edge / spread:.1f}", "controls": bands[0]["controls"]}
    return {
        "marks": marks,
        "line": "L".join(f"{m['x']} {m['y']}" for m in marks),
        "zero": y(0.0),
        "origin": x(0.0),
        "band": band,
        "ticks": [f"{left:g}", f"{right:g}"],
        "range": [f"{high:.3g}", f"{low:.3g}"],
    }
