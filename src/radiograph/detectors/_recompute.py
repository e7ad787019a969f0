"""Do an audit's conclusions follow from the tables it stores? Needs no torch.

1. every score method again from `feature_shift` and `feature_stats`: aggregate and prompt scores to 1e-9
2. counts of changed answers and flips, and both mean KLs, from items and `neutral`
3. the panel again from the items and the losses: every row, the ratio and the axis
Returns what does not follow, each with its JSON pointer; the verdict itself is checked by the verb.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from radiograph.core import Refusal
from radiograph.detectors._panel import panel
from radiograph.evidence import Audit
from radiograph.numerics import NeutralDrift, TextLosses, score_features

RELATIVE = 1e-9


def differences(audit: Audit, folder: Path, seed: int) -> list[str]:
    """Everything stored that the tables do not give."""
    return [*_score_differences(audit, folder), *_behaviour_differences(audit, folder, seed)]


def _score_differences(audit: Audit, folder: Path) -> list[str]:
    score = audit.score
    if score.status == "not_measured":
        return ["/score/aggregate_score: a number without a measurement"] if score.aggregate_score is not None else []
    shift, stats = _read(folder, "feature_shift"), _read(folder, "feature_stats")
    ids = [p.id for p in score.prompt_scores]
    row = {name: place for place, name in enumerate(ids)}
    ours, theirs = np.zeros((2, len(ids), len(stats["feature"])))
    rows = np.array([row[name] for name in shift["prompt"]], dtype=int)
    features = np.array(shift["feature"], dtype=int)
    ours[rows, features] = shift["reference"]
    theirs[rows, features] = shift["candidate"]
    groups = {i.id: i.group or i.id for i in audit.behaviour.items} if audit.behaviour else {}
    n_neutral = int(stats["neutral_prompts"][0])
    drift = NeutralDrift(np.array(stats["neutral_drift"]), n_neutral) if n_neutral else None
    found: list[str] = []
    for number, method in enumerate(score.methods):
        again = score_features(
            ours,
            theirs,
            method=method.method,
            k=score.k,
            aggregate=score.aggregate,
            groups=[groups.get(i, i) for i in ids],
            neutral=drift,
        )
        value = None if isinstance(again, Refusal) else again.score
        if not _close(value, method.aggregate):
            found.append(f"/score/methods/{number}/aggregate: stored {method.aggregate}, the tables give {value}")
        if method.method == score.score_method and not isinstance(again, Refusal):
            found += _prompt_differences(audit, again.prompt_scores, again.score)
    return found


def _prompt_differences(audit: Audit, scores: Float64[np.ndarray, " prompt"], aggregate: float) -> list[str]:
    found = [
        f"/score/prompt_scores/{place}/score: stored {stored.score}, the tables give {value}"
        for place, (stored, value) in enumerate(zip(audit.score.prompt_scores, scores, strict=True))
        if not _close(float(value), stored.score)
    ]
    if not _close(aggregate, audit.score.aggregate_score):
        found.append(f"/score/aggregate_score: stored {audit.score.aggregate_score}, the tables give {aggregate}")
    return found


def _behaviour_differences(audit: Audit, folder: Path, seed: int) -> list[str]:
    behaviour = audit.behaviour
    if behaviour is None:
        return ["/panel: a panel without answers"] if audit.panel else []
    found: list[str] = []
    counts = {"changed": sum(not i.same_text for i in behaviour.items), "flips": sum(i.flip for i in behaviour.items)}
    for name, value in counts.items():
        if getattr(behaviour, name) != value:
            found.append(f"/behaviour/{name}: stored {getattr(behaviour, name)}, the items give {value}")
    losses = None
    kl: dict[str, Any] = {"kl_suite": np.array([i.kl_mean for i in behaviour.items], dtype=float)}
    if (folder / "tables" / "neutral.parquet").is_file():
        table = _read(folder, "neutral")
        losses = TextLosses(*(np.array(table[k]) for k in ("reference_nll", "candidate_nll", "tokens")))
        kl["kl_neutral"] = np.array(table["kl_mean"])
    for name, values in kl.items():
        stored = getattr(behaviour, name)
        if not _close(float(values.mean()), stored.value if stored else None):
            found.append(f"/behaviour/{name}: does not follow from the stored texts")
    if audit.panel is not None and panel(behaviour, losses, seed) != audit.panel:
        found.append("/panel: does not follow from the stored answers and losses")
    return found


def _read(folder: Path, name: str) -> dict[str, list[Any]]:
    import polars

    return polars.read_parquet(folder / "tables" / f"{name}.parquet").to_dict(as_series=False)


def _close(a: float | None, b: float | None) -> bool:
    if a is None or b is None:
        return a is b
    return abs(a - b) <= RELATIVE * max(abs(a), abs(b), 1e-300)
