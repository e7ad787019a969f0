"""The page of `blame`: the behaviour, what retraining says, and the rows in order with their tokens shaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from radiograph.evidence.influence import UNCHECKED
from radiograph.reports._figure import CANDIDATE, FAINT, INK, REFERENCE, RULE, drawing, svg

Document = Mapping[str, Any]
_SHOWN = 25
_BARS = 20
_SHADES = 5
WORDS: Final = {
    "words": "shared words",
    "loss": "reference loss",
    "drop": "loss drop",
    "norm": "gradient norm",
}
STAMPS: Final = {
    "behaviour_absent": "the candidate does not show this behaviour",
    "not_trained_on_these_rows": "the rows do not look trained on",
    "single_target": "one target: no interval goes over targets",
    "uncalibrated_probe": "the probe is not calibrated: its score may say little",
    "texts_cut": "texts longer than the context were cut",
    "loud_rows": "rows with large gradients lead, whatever is asked",
    "sampled": "a sample of the rows was scored",
    "adapter_base_unverified": "the adapter names another base",
    "not_preconditioned": "a checkpoint without its optimiser's state",
    "self_check_not_learned": "the planted rows of the self-check were not learned",
    "all_rows": "nobody tells which rows were seen between the checkpoints, so all are scored",
}


def figures(document: Document) -> dict[str, bytes]:
    """`scores`: the leading rows with intervals over targets."""
    rows = document["top"][:_BARS]
    if not rows:
        return {}
    by_score = document["rank"] == "score"
    values = [_drawn(row, by_score) for row in rows]
    unit = max(abs(value) for value, _ in values) or 1.0
    with drawing(10.8, 1.1 + 0.28 * len(rows)) as figure:
        axes = figure.subplots()
        for place, (value, (low, high)) in enumerate(values):
            axes.plot([low / unit, high / unit], [place, place], color=RULE, linewidth=4, zorder=1)
            axes.plot([value / unit], [place], "o", color=CANDIDATE, markersize=6, zorder=2)
        axes.axvline(0, color=FAINT, linewidth=0.8, zorder=0)
        axes.set_yticks(range(len(rows)), [f"line {row['line']}" for row in rows], color=INK)
        axes.set_ylim(len(rows) - 0.4, -0.6)
        said = "score, mean over targets" if by_score else "relative score"
        bar = "its interval over targets" if by_score else "from the least to the largest group of targets"
        axes.set_xlabel(f"{document['method']}, {said}, in shares of the largest; the bar: {bar}")
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        made = {"scores": svg(figure, "scores", "Scores of the leading rows")}
    check = document["validation"]
    if check is not None and check["kind"] == "leave-out":
        made["left_out"] = _left_out(check)
    return made


def _drawn(row: Document, by_score: bool) -> tuple[float, tuple[float, float]]:
    """What orders the rows, and a range beside it."""
    if by_score:
        return row["score"], tuple(row["interval"] or (row["score"], row["score"]))
    return row["relative"], (row["others"][0], row["relative"])


def _left_out(check: Document) -> bytes:
    """Change of f without rows, beside random draws."""
    with drawing(10.8, 1.9) as figure:
        axes = figure.subplots()
        axes.plot(check["random"], [1] * len(check["random"]), "|", color=REFERENCE, markersize=16, markeredgewidth=2)
        axes.plot([check["delta_f"]], [0], "o", color=CANDIDATE, markersize=9)
        axes.plot([check["words"]], [2], "o", color=FAINT, markersize=7)
        axes.axvline(0, color=FAINT, linewidth=0.8)
        k = check["k"]
        axes.set_yticks([0, 1, 2], [f"the first {k} rows", f"{k} random rows", f"the {k} wordiest rows"], color=INK)
        axes.set_ylim(2.5, -0.5)
        axes.set_xlabel("change of f when a copy is trained without them, nats")
        axes.spines["left"].set_visible(False)
        axes.grid(axis="x")
        return svg(figure, "left_out", "What leaving rows out does")


def view(document: Document) -> dict[str, Any]:
    """Rows with shades, and words for what is only named."""
    top = document["top"]
    ranks = list(top[0]["rank"]) if top else []
    return {
        "rows": [{"own": row, "tokens": _shaded(row["tokens"])} for row in top[:_SHOWN]],
        "more": max(0, len(top) - _SHOWN),
        "ranks": [(name, WORDS.get(name, name)) for name in ranks if name != document["method"]],
        "words": WORDS,
        "stamps": [(STAMPS.get(stamp.partition(":")[0], stamp), stamp) for stamp in document["stamps"]],
        "unchecked": UNCHECKED if document["validation"] is None else "",
        "by": "relative score" if document["rank"] == "relative" else "score",
    }


def _shaded(tokens: Any) -> list[tuple[str, str, float]]:
    """Token, class, score: five shades up and down, by share of the row's largest."""
    largest = max((abs(score) for _, score in tokens), default=0.0)
    out: list[tuple[str, str, float]] = []
    for text, score in tokens:
        step = round(_SHADES * abs(score) / largest) if largest else 0
        out.append((text, f"{'up' if score > 0 else 'down'}{step}" if step else "", score))
    return out
