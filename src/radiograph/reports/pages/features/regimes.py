"""The page of `graph intervene`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from radiograph.reports._figure import CANDIDATE, FAINT, REFERENCE, RULE, drawing, svg

Document = Mapping[str, Any]
MEANS = {
    "importance": "the selection alone: every other component off",
    "stochastic": "the selection with everything else random",
    "adversarial": "the selection with the worst that was found of everything else",
    "ablated": "the full model without the listed nodes",
}
WORDS = {
    "suffices": "The answer is kept alone, with the rest random, and with the rest attacked.",
    "suffices without adversary": "The answer is kept alone and with the rest random, and is lost when the rest is "
    "attacked: random masks alone would have called this sufficient.",
    "does not suffice": "The answer is lost when the rest is off or random.",
}


def figures(document: Document) -> dict[str, bytes]:
    """Label probability in each regime, beside the controls."""
    rows = [(name, document[name]) for name in MEANS if document[name]]
    with drawing(7.2, 0.5 * len(rows) + 1.0) as figure:
        axes = figure.subplots()
        top = len(rows) - 1
        for place, (name, row) in enumerate(rows):
            axes.barh(top - place, row["p"], height=0.55, color=CANDIDATE if name == "adversarial" else REFERENCE)
            axes.annotate(f" {row['p']:.3f}", (row["p"], top - place), va="center", fontsize=8.5)
        controls = document["controls"]
        if controls:
            axes.scatter(controls["p"], [top] * len(controls["p"]), s=14, color=FAINT, zorder=3)
        bar = document["keep"] * document["target_p"]
        axes.axvline(bar, color=RULE, linewidth=1.4, zorder=0)
        axes.set_yticks(range(len(rows)), [name for name, _ in reversed(rows)])
        axes.set_xlim(0, 1.12)
        axes.set_xlabel("probability of the label")
        return {"regimes": svg(figure, "regimes", "Probability of the label in each regime")}


def view(document: Document) -> dict[str, Any]:
    """Regimes in words, in order."""
    return {
        "regimes": [(name, MEANS[name], document[name]) for name in MEANS if document[name]],
        "grade": WORDS[document["grade"]],
    }
