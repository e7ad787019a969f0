"""The tables of an audit: what `verify` derives scores and verdicts from again.

`feature_shift`: one row per (prompt, feature) that fires in either model; absent means 0. `feature_prompts`: tokens and
squared shifts of each prompt. `feature_stats`: per feature, the drift of the neutral bank. `neutral`: per text, KL and
summed losses. `behaviour`, `weights`: one row an item and model, a matrix. `calibration_*`: the pool of a calibrated
audit, the candidate last: scores and coordinates, rules, sets of the witnesses, what fitted detectors keep, and the
degraded models, if it holds some.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.core import Refusal
from radiograph.detectors._calibrated import Pool, Summaries, pool_of
from radiograph.detectors._witness import search_table, witness_table
from radiograph.evidence import Behaviour, Calibration, CalibrationModel, DetectorRule, WeightsSummary

if TYPE_CHECKING:
    from radiograph.detectors._measured import NeutralText
    from radiograph.detectors._shifts import FeatureShifts
    from radiograph.detectors.measure import Measurement

Table = Mapping[str, Sequence[Any]]


def tables(measurement: Measurement) -> dict[str, Table]:
    """Every table that could be measured, by name."""
    found: dict[str, Table] = {}
    makers = {
        "weights": lambda: weights_table(measurement.weights),
        "behaviour": lambda: behaviour_table(measurement.behaviour),
        "neutral": lambda: neutral_table(measurement.neutral),
        "feature_shift": lambda: shift_table(measurement.features),
        "feature_prompts": lambda: prompts_table(measurement.features),
        "feature_stats": lambda: stats_table(measurement.features),
        "witness": lambda: witness_table(measurement.witness_findings.items),
        "search": lambda: search_table(measurement.triggers),
        "frames": lambda: measurement.frame_findings.table,
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


def pool_tables(pool: Pool) -> dict[str, Table]:
    """The pool of a calibrated audit: all that its p-values, support and strata are derived from."""
    scores = _models_table(pool.models)
    scores["role"] = ["benign"] * pool.n + ["candidate"]
    degraded = {"calibration_degraded": _models_table(pool.degraded)} if pool.degraded else {}
    summaries = [(name, i, row) for name, rows in sorted(pool.summaries.items()) for i, row in enumerate(rows)]
    return {
        **degraded,
        "calibration_scores": scores,
        "calibration_rules": {
            **{key: [getattr(r, key) for r in pool.rules] for key in ("id", "scale", "floor", "fitted", "frozen")},
            "combination": [pool.combination] * len(pool.rules),
        },
        "calibration_sets": {"set": list(pool.sets), "largest": _floats(list(pool.sets.values()))},
        "calibration_summaries": {
            "detector": [name for name, _, _ in summaries],
            "model": [i for _, i, _ in summaries],
            "shape": ["x".join(map(str, row.shape)) for _, _, row in summaries],
            "values": [row.astype(np.float64).ravel().tolist() for _, _, row in summaries],
        },
    }


def pool_from(tables: Mapping[str, Mapping[str, Any]]) -> Pool:
    """The pool that some tables hold."""
    scores, kept = tables["calibration_scores"], tables["calibration_summaries"]
    rules, sets = tables["calibration_rules"], tables["calibration_sets"]

    models = _models_from(scores)
    if [role == "candidate" for role in scores["role"]] != [False] * (len(models) - 1) + [True]:
        raise ValueError("calibration_scores: the candidate is not its last row")
    arrays: dict[str, list[np.ndarray]] = {}
    for name, shape, values in zip(kept["detector"], kept["shape"], kept["values"], strict=True):
        arrays.setdefault(name, []).append(np.array(values, dtype=float).reshape([int(s) for s in shape.split("x")]))
    return Pool(
        models=models,
        rules=tuple(
            DetectorRule(**{key: rules[key][i] for key in ("id", "scale", "floor", "fitted", "frozen")})
            for i in range(len(rules["id"]))
        ),
        combination=rules["combination"][0],
        summaries={name: np.stack(rows) for name, rows in arrays.items()},
        sets=dict(zip(sets["set"], sets["largest"], strict=True)),
        degraded=_models_from(tables["calibration_degraded"]) if "calibration_degraded" in tables else (),
    )


def unlike(pool: Pool, calibration: Calibration, summaries: Summaries) -> list[str]:
    """What of a stored pool, its candidate apart, is not what the calibration of that hash holds."""
    own = {name: rows[-1] for name, rows in pool.summaries.items() if len(rows) == len(pool.models)}
    right = pool_of(calibration, summaries, pool.candidate, own)
    tables = {
        "calibration_scores": [_stored(p.models[:-1]) for p in (pool, right)],
        "calibration_degraded": [_stored(p.degraded) for p in (pool, right)],
        "calibration_rules": [[r.model_dump(exclude={"reason"}) for r in p.rules] for p in (pool, right)],
        "calibration_sets": [dict(p.sets) for p in (pool, right)],
    }
    found = [name for name, (stored, ours) in tables.items() if stored != ours]
    kept, ours = ({n: rows[: pool.n] for n, rows in p.summaries.items()} for p in (pool, right))
    if kept.keys() != ours.keys() or not all(np.array_equal(kept[n], ours[n]) for n in ours):
        found.append("calibration_summaries")
    if pool.combination != right.combination:
        found.append("calibration_rules")
    return [f"tables/{name}.parquet is not what the calibration holds" for name in sorted({*found})]


def _stored(rows: Sequence[CalibrationModel]) -> dict[str, list[Any]]:
    """The columns that hold anything: a table does not tell a score that is missing from one that is null."""
    columns = {name: list(column) for name, column in _models_table(rows).items()}
    return {name: column for name, column in columns.items() if any(value is not None for value in column)}


def _models_table(rows: Sequence[CalibrationModel]) -> dict[str, Sequence[Any]]:
    """One row a model."""
    parts = {
        "score": [m.scores for m in rows],
        "nuisance": [m.nuisance for m in rows],
        "stability": [m.stability for m in rows],
        "trigger": [m.triggers for m in rows],
        "control": [{str(i): v for i, v in enumerate(m.controls)} for m in rows],
    }
    table: dict[str, Sequence[Any]] = {
        "model": [m.id for m in rows],
        "family": [m.family for m in rows],
        "kind": [m.kind for m in rows],
        "tensors_sha256": [m.tensors_sha256 for m in rows],
        "aggregate": _floats([m.aggregate for m in rows]),
        "share_outside": _floats([m.share_outside for m in rows]),
    }
    for part, maps in parts.items():
        for name in sorted({key for own in maps for key in own}):
            table[f"{part}:{name}"] = _floats([own.get(name) for own in maps])
    return table


def _models_from(table: Mapping[str, Any]) -> tuple[CalibrationModel, ...]:
    """The models of such a table."""

    def part(name: str, i: int) -> dict[str, float]:
        own = {key.removeprefix(f"{name}:"): column[i] for key, column in table.items() if key.startswith(f"{name}:")}
        return {key: value for key, value in own.items() if value is not None}

    return tuple(
        CalibrationModel(
            id=table["model"][i],
            family=table["family"][i],
            kind=table["kind"][i],
            tensors_sha256=table["tensors_sha256"][i],
            scores=dict(part("score", i)),
            nuisance=part("nuisance", i),
            stability=part("stability", i),
            triggers=part("trigger", i),
            controls=tuple(value for _, value in sorted(part("control", i).items(), key=lambda kv: int(kv[0]))),
            aggregate=table["aggregate"][i],
            share_outside=table["share_outside"][i],
        )
        for i in range(len(table["model"]))
    )


def _floats(values: Sequence[float | None]) -> Any:
    """A column of numbers that keeps its type where all are missing."""
    import polars

    return polars.Series(values, dtype=polars.Float64)
