"""The page of `match`: which feature is which, how surely, and what chance would have found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radiograph.reports._figure import CANDIDATE, FAINT, INK, REFERENCE, drawing, svg

Document = Mapping[str, Any]
NAMES = {
    "activation": "activation",
    "decoder": "write direction",
    "logits": "logit effects",
    "text": "explanation",
    "firing": "firing",
}
REASONS = {
    "few_active": "active on too few shared units: chance matches those perfectly",
    "other_prompts": "measured on other prompts than most",
    "partial_rows": "not measured on every row",
}
AGREEMENTS = {
    "agrees": "same sign, and the slopes agree within a factor of two",
    "same_sign": "same sign, other strength",
    "disagrees": "opposite, or only one of them does anything",
    "untested": "no shared prompts, outcome and dose on both sides",
}


def figures(document: Document) -> dict[str, bytes]:
    """`scores`: best similarity of every left feature, matches apart, and what chance reaches."""
    bins = document["scores"]
    if not bins or document["null"] is None:
        return {}
    from matplotlib.ticker import MaxNLocator

    with drawing(10.8, 3.4) as figure:
        axes = figure.subplots()
        left, right = [b[0] for b in bins], [b[1] for b in bins]
        width = [(b - a) * 0.92 for a, b in zip(left, right, strict=True)]
        others, matches = [b[3] for b in bins], [b[2] for b in bins]
        axes.bar(left, others, width, align="edge", color=FAINT, alpha=0.55, label="no match")
        axes.bar(left, matches, width, align="edge", bottom=others, color=REFERENCE, label="match")
        q95 = document["null"]["q95"]
        axes.axvline(q95, color=CANDIDATE, linewidth=1.4)
        top = max(a + b for a, b in zip(others, matches, strict=True)) or 1
        axes.set_ylim(0, top * 1.22)
        side = "left" if q95 < 0.7 else "right"
        text, aside = f"95 % of best matches by chance stay below {q95:.2f}", 7 if side == "left" else -7
        axes.annotate(
            text, (q95, top * 1.13), (aside, 0), textcoords="offset points", ha=side, va="center", color=INK, fontsize=9
        )
        axes.set_xlabel(f"{document['similarity']} similarity of a left feature with its best partner on the right")
        axes.set_ylabel("left features")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(loc="upper left" if q95 > 0.45 else "upper right", frameon=False)
        title = "Best similarity of every left feature, matches marked, with the 95th percentile of the null"
        return {"scores": svg(figure, "scores", title)}


def view(document: Document) -> dict[str, Any]:
    """The matches shown, the components that any of them has, and the reasons in words."""
    shown = document["matches"][: document["shown"]]
    present = [name for name in NAMES if name != "activation" and any(_value(pair, name) is not None for pair in shown)]
    absent = [NAMES[name] for name in NAMES if name != "activation" and name not in present]
    return {
        "pairs": shown,
        "components": [(name, NAMES[name]) for name in present],
        "absent": absent,
        "reasons": [(REASONS.get(name, name), counts) for name, counts in document["excluded"].items() if any(counts)],
        "causal": any(pair["causal"] != "untested" for pair in shown),
        "transfer": any(pair["transfer"] for pair in shown),
        "labels": any(pair["left_label"] or pair["right_label"] for pair in shown),
        "agreements": AGREEMENTS,
    }


def _value(pair: Mapping[str, Any], name: str) -> float | None:
    line = pair["components"].get(name)
    return None if line is None else line["value"]
