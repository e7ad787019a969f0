"""The page of `intervene`: what every feature does, dose by dose, inside what controls do and beside what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from radiograph.reports._figure import CANDIDATE, FAINT, INK, REFERENCE, RULE, drawing, svg

Document = Mapping[str, Any]
_CURVES = 8
GRADES = {
    "untested": "not tested",
    "no_effect": "no effect",
    "effect": "an effect, but not beyond every control",
    "beyond_controls": "beyond every control, but not validated",
    "validated": "validated",
}
REASONS = {
    "not_measured": "not measured",
    "no_effect": "interval of the effect contains 0",
    "kl": "KL above its limit",
    "ppl": "perplexity above its limit",
    "negative": "others change too much",
    "kl_missing": "KL not measured",
    "ppl_missing": "perplexity not measured",
    "negative_missing": "no negatives",
}
CONDITIONS = {
    "effect": "an effect with q ≤ .05",
    "beyond_controls": "p ≤ .05 against every family of controls",
    "slope": "a dose-response whose slope excludes 0",
    "monotone": "a monotone dose-response (ρ ≥ .8)",
    "limits": "side effects inside the limits, on both halves",
    "placebo": "an exact placebo",
    "groups": "20 groups",
}
FAMILIES = {
    "random_direction": "random directions",
    "covariance_matched": "directions drawn from the site's covariance",
    "norm_matched": "other live features, at the same length",
    "frequency_matched": "features that fire as often, at the same length",
    "shuffled_label": "directions refitted on permuted labels",
}


def figures(document: Document) -> dict[str, bytes]:
    """`doses`: change and cost against dose, a row a feature."""
    return drawn(document)


def view(document: Document) -> dict[str, Any]:
    """Words for grades, reasons, conditions; features with their confirm doses."""
    return seen(document)


def drawn(document: Document) -> dict[str, bytes]:
    """The figures of some effects."""
    curves = [one for one in document["features"] if len(_half(one, "confirm")) > 1 and one["unit"] is not None]
    return {"doses": _doses(document, curves[:_CURVES])} if curves else {}


def seen(document: Document) -> dict[str, Any]:
    """What the templates need beside the document."""
    return {
        "grades": GRADES,
        "reasons": REASONS,
        "conditions": CONDITIONS,
        "families": FAMILIES,
        "rows": [(one, _half(one, "discover"), _half(one, "confirm")) for one in document["features"]],
    }


def _half(feature: Document, half: str) -> list[Mapping[str, Any]]:
    return [row for row in feature["doses"] if row["half"] == half]


def _doses(document: Document, features: Sequence[Document]) -> bytes:
    order = document["order"]
    with drawing(9.0, 0.7 + 2.5 * len(features)) as figure:
        grid = figure.subplots(len(features), 2, squeeze=False, width_ratios=(1.7, 1))
        for (left, right), one in zip(grid, features, strict=True):
            _response(left, one, order)
            _costs(right, one, order)
        grid[0][0].legend(frameon=False, fontsize=7.5, loc="best")
        return svg(figure, "doses", "Change of the outcome, and KL on neutral text, against the dose of each feature")


def _response(axes: Any, one: Document, order: Document) -> None:
    rows = _half(one, "confirm")
    doses = [row["dose"] for row in rows]
    bands = [(row["dose"], row["band"]) for row in rows if row["band"] is not None]
    if len(bands) > 1:
        xs, high = zip(*sorted([*bands, (0.0, 0.0)]), strict=True)
        axes.fill_between(xs, [-b for b in high], high, color=FAINT, alpha=0.22, linewidth=0, label="95 % of controls")
    elif bands:
        ((x, b),) = bands
        axes.errorbar([x], [0.0], yerr=[[b], [b]], color=FAINT, linewidth=6, alpha=0.4, label="95 % of controls")
    axes.axhline(0, color=RULE, linewidth=1, zorder=0)
    found = _half(one, "discover")
    axes.plot(
        [row["dose"] for row in found],
        [row["change"] for row in found],
        color=REFERENCE,
        marker="o",
        markersize=4,
        markerfacecolor="none",
        linestyle="none",
        label="discover: chooses the dose",
    )
    sides = [(row["change"], *_turned(row)) for row in rows]
    bars = [[max(0.0, at - low), max(0.0, high - at)] for at, low, high in sides]
    axes.errorbar(
        doses,
        [row["change"] for row in rows],
        yerr=list(zip(*bars, strict=True)),
        color=CANDIDATE,
        marker="o",
        markersize=4,
        linewidth=1.3,
        capsize=2,
        label="confirm: judges, 95 %",
    )
    if one["dose"] is not None:
        style = "-" if one["acceptable"] else ":"
        axes.axvline(one["dose"], color=INK, linewidth=0.8, linestyle=style, zorder=0)
    axes.set_xlabel(f"dose, {one['unit']}", fontsize=8)
    axes.set_ylabel(f"change, {order['outcome_unit']}", fontsize=8)
    axes.set_title(_short(str(one["feature"]), one["grade"]), fontsize=9)


def _costs(axes: Any, one: Document, order: Document) -> None:
    rows = [row for row in _half(one, "confirm") if row["kl"] is not None]
    axes.plot([row["dose"] for row in rows], [row["kl"] for row in rows], color=INK, marker="o", markersize=3.5)
    limit = order["limits"]["kl"]
    axes.axhline(limit, color=FAINT, linestyle="--", linewidth=1)
    axes.set_ylim(0, 1.15 * max([limit, *(row["kl"] for row in rows)]))
    axes.set_xlabel(f"dose, {one['unit']}", fontsize=8)
    axes.set_title("KL on neutral text, nats a token; dashed: limit", fontsize=8.5)


def _turned(row: Mapping[str, Any]) -> tuple[float, float]:
    """The interval of the change; that of the directed effect turns with a push downwards."""
    if row["interval"] is None:
        return row["change"], row["change"]
    low, high = row["interval"]
    return (-high, -low) if row["change"] * row["effect"] < 0 else (low, high)


def _short(name: str, grade: str) -> str:
    name = name if len(name) <= 48 else f"{name[:47]}…"
    return f"{name}: {GRADES[grade]}"
