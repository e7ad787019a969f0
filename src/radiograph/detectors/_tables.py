"""The tables of an audit: what `verify` derives scores and verdicts from again.

`feature_shift`: one row per (prompt, feature) that fires in either model; absent means 0. `feature_prompts`: tokens and
squared shifts of each prompt. `feature_stats`: per feature, the drift of the neutral bank. `neutral`: per text, KL and
summed losses. `behaviour`, `weights`: one row an item and model, a matrix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.core import Refusal
from radiograph.evidence import Behaviour, WeightsSummary

if TYPE_CHECKING:
    from radiograph.detectors._measured import Measured, NeutralText
    from radiograph.detectors._shifts import FeatureShifts

Table = Mapping[str, Sequence[Any]]


def tables(measurement: Measured) -> dict[str, Table]:
    """Every table that could be measured, by name."""
    found: dict[str, Table] = {}
    makers = {
        "weights": lambda: weights_table(measurement.weights),
        "behaviour": lambda: behaviour_table(measurement.behaviour),
        "neutral": lambda: neutral_table(measurement.neutral),
        "feature_shift": lambda: shift_table(measurement.features),
        "feature_prompts": lambda: prompts_table(measurement.features),
        "feature_stats": lambda: stats_table(measurement.features),
    }
    for name, make in makers.items():
        try:
            found[name] = make()
        except Refusal:
            continue
    return found


def weights_table(weights: WeightsSummary) -> Table:
    """One row per matrix."""
    rows = [m.model_dump() for m in weights.matrices]
    names = [k for k in (rows[0] if rows else {}) if k != "shape"]
    return {"shape": ["x".join(map(str, r["shape"])) for r in rows]} | {k: [r[k] for r in rows] for k in names}


def behaviour_table(behaviour: Behaviour) -> Table:
    """One row per item and model."""
    rows = [(item, response) for item in behaviour.items for response in item.responses]
    return {
        "id": [i.id for i, _ in rows],
        "bank": [i.bank for i, _ in rows],
        "task": [i.task for i, _ in rows],
        "group": [i.group for i, _ in rows],
        "model": [r.model for _, r in rows],
        "prompt": [i.prompt_used[-1].content for i, _ in rows],
        "text": [r.text for _, r in rows],
        "passed": [r.passed for _, r in rows],
        "refusal": [r.refusal for _, r in rows],
        "kl_mean": [i.kl_mean for i, _ in rows],
        "kl_max": [i.kl_max for i, _ in rows],
    }


def neutral_table(neutral: NeutralText) -> Table:
    """One row per neutral text of two tokens or more."""
    return {
        "text": np.arange(len(neutral.kl_mean), dtype=np.int64).tolist(),
        "tokens": neutral.losses.tokens.tolist(),
        "kl_mean": neutral.kl_mean.tolist(),
        "reference_nll": neutral.losses.reference.tolist(),
        "candidate_nll": neutral.losses.candidate.tolist(),
    }


def shift_table(shifts: FeatureShifts) -> Table:
    """One row per prompt and feature that fires in either model."""
    rows, features = np.nonzero((shifts.reference != 0) | (shifts.candidate != 0))
    return {
        "prompt": [shifts.ids[r] for r in rows],
        "feature": features.tolist(),
        "reference": shifts.reference[rows, features].tolist(),
        "candidate": shifts.candidate[rows, features].tolist(),
    }


def prompts_table(shifts: FeatureShifts) -> Table:
    """One row per prompt; `distinct` is equal where the token ids are."""
    return {
        "prompt": list(shifts.ids),
        "group": list(shifts.groups),
        "distinct": shifts.distinct.tolist(),
        "tokens": shifts.n_tokens.tolist(),
        "moved": shifts.moved.tolist(),
        "missed": shifts.missed.tolist(),
    }


def stats_table(shifts: FeatureShifts) -> Table:
    """One row per feature."""
    n = len(shifts.sd)
    drift = shifts.neutral
    return {
        "feature": list(range(n)),
        "sd": shifts.sd.tolist(),
        "density": shifts.density.tolist(),
        "neutral_drift": (np.zeros(n) if drift is None else drift.mean).tolist(),
        "neutral_prompts": [0 if drift is None else drift.prompts] * n,
    }
