"""The labelled set and the fitted score, as files: `labelled.jsonl.gz` and `score.json`.

A row is a text, its label, where it comes from and the group that folds keep together. A CSV of the user's own has
the columns `text` and `collapsed` (1, 0, true, false, yes, no), and may have `group` and `nll_band`.
The letter table is kept in steps of 1/16 bit, zlib and base64.
"""

from __future__ import annotations

import base64
import csv
import gzip
import json
import math
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from radiograph.core import FormatError
from radiograph.numerics.repetition import (
    FEATURES,
    CollapseScore,
    Letters,
    fit,
    reliability,
    text_metrics,
)

SHIPPED = Path(__file__).with_name("shipped")
_TRUE, _FALSE = {"1", "true", "yes", "collapsed"}, {"0", "false", "no", "fine"}
_STEP = 16


@dataclass(frozen=True, slots=True)
class Labelled:
    """One labelled text."""

    text: str
    collapsed: bool
    source: str
    """What made it: `healthy`, `truncated`, `hard:…`, `loop:…`, `salad:…`, `symbols:…`, `model:…`."""
    group: str
    kind: str | None = None
    nll_band: float | None = None


def labelled_set() -> list[Labelled]:
    """The set that comes with the package."""
    path = SHIPPED / "labelled.jsonl.gz"
    if not path.exists():
        return []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [Labelled(**json.loads(line)) for line in lines]


def write_labelled(rows: Sequence[Labelled], path: Path | None = None) -> None:
    """Write a set; equal rows give equal bytes."""
    data = "".join(json.dumps(asdict(row), ensure_ascii=False, sort_keys=True) + "\n" for row in rows)
    (path or SHIPPED / "labelled.jsonl.gz").write_bytes(gzip.compress(data.encode(), 9, mtime=0))


def read_labels(path: Path) -> list[Labelled]:
    """A CSV of labels.

    Raises:
        FormatError: missing columns, a label or an nll_band that is none, with its line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows = [(reader.line_num, row) for row in reader]
            found = set(reader.fieldnames or ())
    except UnicodeDecodeError as error:
        raise FormatError(f"{path.name} is not UTF-8", got=str(error)) from error
    except csv.Error as error:
        raise FormatError(f"{path.name} is no table", got=str(error), expected="text,collapsed") from error
    if missing := {"text", "collapsed"} - found:
        raise FormatError(f"{path.name} has no column {', '.join(sorted(missing))}", got=", ".join(sorted(found)))
    out: list[Labelled] = []
    for line, row in rows:
        label = (row["collapsed"] or "").strip().lower()
        if label not in _TRUE | _FALSE:
            raise FormatError(f"not a label: {label!r}", expected="1 or 0", where=f"{path.name}, line {line}")
        group = row.get("group") or f"line {line}"
        band = _band(row.get("nll_band"), f"{path.name}, line {line}")
        out.append(Labelled(row["text"] or "", label in _TRUE, "own", group, None, band))
    return out


def _band(text: str | None, where: str) -> float | None:
    if not text or not text.strip():
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise FormatError(f"not an nll_band: {text!r}", expected="a finite number, or nothing", where=where)
    return value


def fit_labels(
    rows: Sequence[Labelled],
    *,
    letters: Letters,
    lengths: Sequence[int],
    ratios: Sequence[float],
    false_alarms: float = 0.05,
) -> tuple[CollapseScore, dict[str, Any]]:
    """A score fitted on labels, and what held-out rows say of it.

    Empty and too short texts follow a rule and are left out.
    """
    blank = CollapseScore({}, 0.0, 0.5, tuple(lengths), tuple(ratios), letters)
    measured = [(row, text_metrics(row.text)) for row in rows]
    measured = [(row, metrics) for row, metrics in measured if metrics.scored and not metrics.empty]
    kept = [row for row, _ in measured]
    features = [blank.features(row.text, metrics, row.nll_band) for row, metrics in measured]
    table = np.array([[f[name] for name in FEATURES] for f in features])
    collapsed = np.array([row.collapsed for row in kept])
    found = fit(table, collapsed, [row.group for row in kept], false_alarms=false_alarms)
    called = found.held_out >= found.threshold
    hard = np.array([row.source.startswith("hard:") for row in kept])
    facts: dict[str, Any] = {
        "rows": len(kept),
        "collapsed": int(collapsed.sum()),
        "roc": found.roc,
        "false_alarms": float(called[~collapsed].mean()),
        "detected": float(called[collapsed].mean()),
        "hard_n": int(hard.sum()),
        "hard_false_alarms": float(called[hard].mean()) if hard.any() else None,
        "by_source": _by_source(kept, called),
        "reliability": reliability(found.held_out, collapsed),
        "curve": _curve(found.held_out, collapsed),
    }
    score = CollapseScore(found.weights, found.intercept, found.threshold, tuple(lengths), tuple(ratios), letters)
    return score, facts


def shipped_score() -> CollapseScore:
    """The score that comes with the package."""
    return _shipped()[0]


def shipped_facts() -> dict[str, Any]:
    """What held-out labels say of it: ROC area, rates, curve, reliability."""
    return _shipped()[1]


@cache
def _shipped() -> tuple[CollapseScore, dict[str, Any]]:
    document = json.loads((SHIPPED / "score.json").read_text("utf-8"))
    return score_of(document["score"]), document["facts"]


def write_score(score: CollapseScore, facts: dict[str, Any], path: Path | None = None) -> None:
    """Write a fitted score."""
    document = {"score": document_of(score), "facts": facts}
    text = json.dumps(document, indent=1, sort_keys=True) + "\n"
    (path or SHIPPED / "score.json").write_text(text, "utf-8")


def document_of(score: CollapseScore) -> dict[str, Any]:
    """A score as plain data."""
    steps = np.clip(np.round(score.letters.bits * _STEP), 0, 255).astype(np.uint8)
    return {
        "weights": dict(score.weights),
        "intercept": score.intercept,
        "threshold": score.threshold,
        "lengths": list(score.lengths),
        "ratios": list(score.ratios),
        "letters": {
            "bits": base64.b64encode(zlib.compress(steps.tobytes(), 9)).decode(),
            "size": len(steps),
            "usual": score.letters.usual,
            "scale": score.letters.scale,
        },
    }


def score_of(document: dict[str, Any]) -> CollapseScore:
    """The score of `document_of`."""
    own = document["letters"]
    steps = np.frombuffer(zlib.decompress(base64.b64decode(own["bits"])), np.uint8)
    letters = Letters(steps.reshape((own["size"],) * 3) / _STEP, own["usual"], own["scale"])
    names = ("weights", "intercept", "threshold")
    return CollapseScore(
        *(document[name] for name in names),
        lengths=tuple(document["lengths"]),
        ratios=tuple(document["ratios"]),
        letters=letters,
    )


def _by_source(rows: Sequence[Labelled], called: np.ndarray) -> dict[str, dict[str, float]]:
    """Per kind of source: rows, and the share that held-out weights call collapsed."""
    names = [":".join(row.source.split(":")[:2]) for row in rows]
    out: dict[str, dict[str, float]] = {}
    for label in (False, True):
        for name in sorted({n for n, row in zip(names, rows, strict=True) if row.collapsed == label}):
            mask = np.array([n == name and row.collapsed == label for n, row in zip(names, rows, strict=True)])
            key = f"{name} ({'collapsed' if label else 'fine'})"
            out[key] = {"n": int(mask.sum()), "called": float(called[mask].mean())}
    return out


def _curve(scores: np.ndarray, collapsed: np.ndarray) -> list[tuple[float, float]]:
    """False alarms and detection at 41 thresholds."""
    cuts = np.quantile(scores, np.linspace(1, 0, 41))
    return [(float((scores[~collapsed] >= c).mean()), float((scores[collapsed] >= c).mean())) for c in cuts]
