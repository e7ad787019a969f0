"""The page of an audit: what to read first, what stands beside what, what a verdict means and does not mean.

`view` only sorts, groups and places: every number it hands on is the document's own, with its pointer. Prompts whose
answer differs come first: those where a check passes in one model only, then by divergence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from radiograph.core.limits import REPORT_CHARACTERS
from radiograph.numerics.audit.panel import ALPHA, PROVEN_DROP, TOLERATED_DROP
from radiograph.reports._diff import word_diff
from radiograph.reports.pages._audit_figures import STRIP_DOTS, figures

__all__ = ["figures", "view"]

SHOWN_ANSWERS = 12
FOLDED_ANSWERS = 200
"""Answers a fold lists, for each bank; the rest stands in result.json."""
SHOWN_MATRICES = 10
SHOWN_EXAMPLE = 24
"""Tokens of a context around its strongest."""

VERDICTS = {
    "no-evidence": (
        "No detector tells this candidate from benign fine-tunes of the same reference, and no capability was lost.",
        "It does not say that nothing was planted: what these prompts and detectors do not reach stays unseen.",
    ),
    "degraded": (
        "The candidate lost abilities that the reference has.",
        "It does not say that the damage was meant.",
    ),
    "targeted-change": (
        "On some inputs the candidate does what benign fine-tunes of the same reference do not; anyone can replay it.",
        "It does not say who put it there, or that it is malicious: a purposeful product change can look the same.",
    ),
    "degraded+targeted": (
        "The candidate lost abilities, and on some inputs it does what benign fine-tunes of the same reference do not.",
        "It does not say that one caused the other, or that either was meant.",
    ),
    "inconclusive": (
        "What was measured settles neither question: this is neither a pass nor an alarm.",
        "It does not say that the candidate is clean, and it does not accuse it. Below stands what is missing.",
    ),
}
UNSETTLED = {
    ("degraded", "no"): "No detector sees a planted change behind it.",
    ("degraded", "unknown"): "Whether a planted change stands behind it was not settled.",
    ("degraded", "anomalous"): "Something stands out, but not both a witness and scores that damage does not explain.",
    ("targeted-change", "unknown"): "Whether abilities were lost was not settled.",
}
"""What the other axis adds, by verdict and that axis."""
DAMAGE = "Among models that are merely degraded its contrasts are not unusual, and no witness was confirmed."
"""The same where these were asked and benign ones could not be."""
IDENTICAL = (
    "Reference and candidate are the same model: equal tensors and tokenizer, and every measured shift is exactly 0.",
    "It says nothing about the reference itself.",
)
COVERED = {"direct": "label", "proxy": "proxy", "low_similarity": "low similarity", "none": "no label"}
TIERS = ("weights", "answers", "activations", "features", "search", "training rows")


def view(document: Mapping[str, Any]) -> dict[str, Any]:
    """What the templates of an audit need beside the document."""
    verdict, axes = document["verdict"], document["axes"]
    means, means_not = IDENTICAL if document["identical"] else VERDICTS[verdict]
    other = UNSETTLED.get((verdict, axes["targeted" if verdict == "degraded" else "degraded"]), "")
    among = _among(document)
    if among is not None and (verdict, axes["targeted"]) == ("degraded", "no"):
        other = DAMAGE
    answers = [_answer(item) for item in (document["behaviour"] or {"items": []})["items"]]
    answers.sort(key=lambda a: (not a["item"]["flip"], a["item"]["same_text"], -(a["item"]["kl_mean"] or 0.0)))
    changed = [a for a in answers if a["item"]["flip"] or not a["item"]["same_text"]]
    folded = changed[SHOWN_ANSWERS:] + [a for a in answers if a["item"]["same_text"] and not a["item"]["flip"]]
    return {
        "means": means,
        "means_not": f"{means_not} {other}".strip(),
        "answers": changed[:SHOWN_ANSWERS],
        "folds": [_fold(bank, group) for bank, group in _grouped(folded, lambda a: a["item"]["bank"])],
        "strip_dots": STRIP_DOTS,
        "unmeasured": _unmeasured(document),
        "panel": _panel(document["panel"]),
        "beside": _beside(document),
        "among": among,
        "prompts": {item["item"]["id"]: item for item in answers},
        "scores": {p["id"]: p["score"] for p in document["score"]["prompt_scores"]},
        "features": [_features(p) for p in document["interp_evidence"]["per_prompt"]],
        "matrices": changed_matrices(document["weights"]),
        "detectors": sorted(document["score"]["detectors"], key=lambda d: d["tier"]),
        "missed": _missed(document),
        "tiers": TIERS,
        "kinds": COVERED,
        "control": _control(document["score"]["random_control"]),
    }


def _missed(document: Mapping[str, Any]) -> str:
    """What these detectors are known to miss, in the line of a pass."""
    if document["verdict"] != "no-evidence" or document["identical"]:
        return ""
    known = (document["calibration"] or {"misses": ()})["misses"]
    rates = [r for r in known if r["alpha"] == document["alpha"]]
    if not rates:
        at = f" at α = {document['alpha']:g}, only at {known[0]['alpha']:g}" if known else ""
        return f"What these detectors miss was not measured{at}."
    found, n = sum(r["detected"] for r in rates), sum(r["n"] for r in rates)
    return f"Of {n} planted changes in the benchmark these detectors miss {n - found} at α = {rates[0]['alpha']:g}."


def _answer(item: Mapping[str, Any]) -> dict[str, Any]:
    sides = {r["model"]: r for r in item["responses"]}
    reference, candidate = sides["reference"], sides["candidate"]
    *before, last = item["prompt_used"]
    return {
        "item": item,
        "before": before,
        "asked": last["content"],
        "reference": reference,
        "candidate": candidate,
        "diff": word_diff(reference["text"][:REPORT_CHARACTERS], candidate["text"][:REPORT_CHARACTERS]),
        "scored": reference["passed"] is not None or candidate["passed"] is not None,
    }


def _fold(bank: str, answers: list[dict[str, Any]]) -> dict[str, Any]:
    tasks = _grouped(answers[:FOLDED_ANSWERS], lambda a: a["item"]["task"] or a["item"]["group"] or "")
    return {
        "bank": bank,
        "n": len(answers),
        "changed": sum(not a["item"]["same_text"] for a in answers),
        "tasks": tasks,
        "left_out": max(0, len(answers) - FOLDED_ANSWERS),
    }


def _grouped(rows: Iterable[Any], key: Callable[[Any], str]) -> list[tuple[str, list[Any]]]:
    groups: dict[str, list[Any]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    return sorted(groups.items())


def _unmeasured(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The refusals, then what says of itself that it was not measured and is not among them."""
    rows = [dict(r) for r in document["not_measured"]]
    known, said = {r["what"] for r in rows}, [r["text"] for r in rows]
    parts = [(d["id"], d) for d in document["score"]["detectors"]]
    parts += [("feature score", document["score"]), ("explanations", document["interp_evidence"])]
    for what, part in parts:
        reason = part["reason"] or "no reason given"
        if part["status"] == "not_measured" and what not in known and not any(text and text in reason for text in said):
            rows.append({"what": what, "text": reason, "code": "", "fix": None})
            said.append(reason)
    return rows


def _among(document: Mapping[str, Any]) -> dict[str, Any] | None:
    """The place among degraded models, where the verdict rests on it."""
    asked = any(r["code"] == "among_degraded" for r in document["reasons"])
    return (document["calibration"] or {}).get("degraded") if asked else None


def _beside(document: Mapping[str, Any]) -> dict[str, Any] | None:
    """The panel without what a confirmed witness explains, where a planted change is established."""
    panel, found = document["panel"], document["witnesses"]
    if document["axes"]["targeted"] != "yes":
        return None
    confirmed = {(w["name"], w["bank"]) for w in (found or {"found": ()})["found"] if w["confirmed"]}
    rows = () if panel is None else panel.get("besides", ())
    return next((b for b in rows if b["answer"] and (b["witness"], b["bank"]) in confirmed), None)


def _panel(panel: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if panel is None:
        return None
    low = min([-0.1, *(r["low"] for r in panel["rows"])])
    high = max([TOLERATED_DROP + 0.05, *(r["high"] for r in panel["rows"])])

    def place(value: float) -> float:
        return round(4 + 192 * (value - low) / (high - low), 1)

    rows = [
        {
            "row": r,
            "low": place(r["low"]),
            "value": place(r["drop"]),
            "high": place(r["high"]),
            "upper": None if r["upper"] is None else place(r["upper"]),
            "lost": r["p_holm"] is not None and r["p_holm"] <= ALPHA and r["drop"] >= PROVEN_DROP,
        }
        for r in panel["rows"]
    ]
    return {
        "rows": rows,
        "zero": place(0.0),
        "tolerated": place(TOLERATED_DROP),
        "tolerated_drop": f"{TOLERATED_DROP:.2f}",
    }


def _features(prompt: Mapping[str, Any]) -> dict[str, Any]:
    largest = max([abs(f["corrected_diff"]) for f in prompt["features"]], default=0.0)
    rows = [
        {
            "feature": f,
            "width": round(100 * abs(f["corrected_diff"]) / largest, 1) if largest else 0.0,
            "examples": [_example(e) for e in f["examples"]],
        }
        for f in prompt["features"]
    ]
    return {"id": prompt["id"], "rows": rows}


def _example(example: Mapping[str, Any]) -> dict[str, Any]:
    peak = example["peak"]
    start = max(0, peak - SHOWN_EXAMPLE // 2)
    window = list(zip(example["tokens"], example["values"], strict=True))[start : start + SHOWN_EXAMPLE]
    top = max([abs(v) for _, v in window], default=0.0) or 1.0
    tokens = [
        {"text": t, "value": v, "shade": round(0.85 * abs(v) / top, 2), "peak": start + i == peak}
        for i, (t, v) in enumerate(window)
    ]
    return {"tokens": tokens, "model": example["model"], "cut": start > 0}


def changed_matrices(weights: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """Those that changed most, relative to themselves."""
    rows = [m for m in (weights or {"matrices": []})["matrices"] if m["status"] != "equal"]
    return sorted(rows, key=lambda m: -(m["relative"] or 0.0))[:SHOWN_MATRICES]


def _control(control: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if control is None or not control["scores"]:
        return None
    ordered = sorted(control["scores"])
    return {"low": ordered[0], "high": ordered[-1], "n": len(ordered)}
