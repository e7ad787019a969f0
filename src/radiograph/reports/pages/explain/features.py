"""The page of `explain features`: what features are called, what that rests on, and how it does on checked texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radiograph.reports._figure import FAINT, REFERENCE, drawing, svg

_STEPS = 10
_BINS = 20


def figures(document: Mapping[str, Any]) -> dict[str, bytes]:
    """`rules`: F1 of all learned rules on the texts that check."""
    rules = [e["rule"]["check"] for e in document["explanations"] if e["rule"]]
    known = [check for check in rules if check["f1"] is not None]
    return {"rules": _rules(known)} if len(known) >= 5 else {}


def view(document: Mapping[str, Any]) -> dict[str, Any]:
    """Cards of features with contexts, a line for every other one, counts of good rules."""
    explanations = document["explanations"]
    rules = [e["rule"]["check"]["f1"] for e in explanations if e["rule"] and e["rule"]["check"]["f1"] is not None]
    return {
        "cards": [{"e": e, "contexts": _contexts(e)} for e in explanations if e["contexts"]],
        "others": [e for e in explanations if not e["contexts"]],
        "good": [(floor, sum(f >= floor for f in rules)) for floor in (0.8, 0.5)],
        "ruled": len(rules),
    }


def _contexts(explanation: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Tokens with how dark they are shaded, by role."""
    largest = max((max(context["values"]) for context in explanation["contexts"]), default=0) or 1
    names = {"top": "strongest", "decile": "weaker", "near_miss": "near misses: alike, and silent"}
    out: list[dict[str, Any]] = []
    for role, name in names.items():
        rows = [
            {
                "prompt": context["prompt_id"],
                "tokens": [
                    {"text": token, "shade": _shade(value / largest), "value": f"{float(value):.3g}"}
                    for token, value in zip(context["tokens"], context["values"], strict=True)
                ],
                "most": f"{float(max(context['values'])):.3g}",
            }
            for context in explanation["contexts"]
            if context["role"] == role
        ]
        if rows:
            out.append({"name": name, "rows": rows})
    return out


def _shade(share: float) -> int:
    return 0 if share <= 0 else max(1, min(_STEPS, round(_STEPS * share)))


def _rules(checks: list[Mapping[str, Any]]) -> bytes:
    with drawing(7.6, 2.6) as figure:
        axes = figure.subplots()
        bins = [n / _BINS for n in range(_BINS + 1)]
        axes.hist([check["f1"] for check in checks], bins=bins, color=REFERENCE, label="learned rule")
        axes.hist(
            [check["chance"] for check in checks],
            bins=bins,
            histtype="step",
            color=FAINT,
            linewidth=1.4,
            label="chance: naming tokens at the rate at which the feature fires",
        )
        axes.set_xlim(0, 1)
        axes.set_xlabel("F1 on texts that did not teach the rule")
        axes.set_ylabel("features")
        axes.grid(axis="y")
        axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(0, 1.2), ncols=2)
        return svg(figure, "rules", "Histogram of F1 of learned rules, beside F1 by chance")
