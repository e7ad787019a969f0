"""What `verify` derives again from the tables of a run: every count, p-adjustment, coefficient, share and demand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from radiograph.methods.dictionary._evaluation import requirements
from radiograph.numerics.multiplicity import q_values

EXACT, ROUNDED = 1e-9, 1e-4


def problems(result: dict[str, Any], folder: Path) -> list[str]:
    """Differences between the result and what its tables say."""
    if result["kind"] == "crosscoder":
        return []
    import polars

    def table(name: str) -> dict[str, np.ndarray]:
        path = folder / "tables" / f"{name}.parquet"
        return {c.name: c.to_numpy() for c in polars.read_parquet(path)} if path.is_file() else {}

    found: list[str] = []
    features = table("features")
    if "p" in features:
        _same(found, "q of the features", q_values(features["p"]), features["q"])
        level = result["moved"]["level"]
        for name, column in (("count", "q"), ("sham", "sham_q")):
            _same(found, f"moved.{name}", int((features[column] < level).sum()), result["moved"][name])
    for name in ("shown", "changes"):
        for row in result[name]:
            for key in ("shift", "t", "effect", "p", "q", "delta", "rate_ref", "rate_cand"):
                if row[key] is not None and key in features:
                    _same(found, f"{name}: {key} of {row['feature']}", features[key][row["feature"]], row[key])
    if result["effect_rms"] is not None:
        _same(found, "effect_rms", np.sqrt(np.square(features["effect"]).mean()), result["effect_rms"])
    _same(found, "largest", np.sqrt(features["statistic"].max()), result["largest"], ROUNDED)
    groups = table("groups")
    for one in result["carried"]:
        along = groups.get(f"c{one['feature']}")
        said = f"coefficient of {one['feature']}"
        _same(found, said, None if along is None else groups["weight"] @ along, one["coefficient"])
    if result["carried"]:
        total = sum(one["share"] for one in result["carried"])
        _same(found, "shares.carried", total, result["shares"]["carried"])
    _drift(found, result, table("drift"), groups)
    _sample(found, result, table)
    return [*found, *_demands(result)]


def _drift(
    found: list[str], result: dict[str, Any], gram: dict[str, np.ndarray], groups: dict[str, np.ndarray]
) -> None:
    if result["l2"] is None:
        return
    matrix = np.stack(list(gram.values()), axis=1)
    weight = groups["weight"]
    _same(found, "l2.drift", np.sqrt(max(0.0, weight @ matrix @ weight)), result["l2"]["drift"], ROUNDED)


def _sample(found: list[str], result: dict[str, Any], table: Any) -> None:
    if result["fvu"] is None:
        return
    both = table("sample") or {**table("sample_candidate"), **table("sample_reference")}
    for side in ("ref", "cand"):
        value = both[f"error_{side}"].sum() / both[f"distance_{side}"].sum()
        _same(found, f"fvu.{side}", value, result["fvu"][side])
    _same(found, "fvu.left_dictionary", result["fvu"]["difference"][0] > 0.02, result["fvu"]["left_dictionary"])
    if result["shares"]["outside"] is not None:
        _same(found, "shares.outside", both["missed"].sum() / both["moved"].sum(), result["shares"]["outside"])


def _demands(result: dict[str, Any]) -> list[str]:
    shares, l2, fvu = result["shares"], result["l2"] or {}, result["fvu"] or {}
    values = {
        "moved": result["moved"]["count"],
        "carried": None if result["rest"] is None else len(result["carried"]),
        "share_carried": shares["carried"],
        "share_seen": shares["seen"],
        "share_outside": shares["outside"],
        "l2_drift": l2.get("drift"),
        "l2_excess": l2.get("excess"),
        "effect_rms": result["effect_rms"],
        "activation_drift": result["activation_drift"],
        "fvu_ref": fvu.get("ref"),
        "fvu_cand": fvu.get("cand"),
    }
    found: list[str] = []
    for one in result["requirements"]:
        value = values[one["metric"]]
        met = None if value is None else requirements.met(one["sense"], value, one["bound"])
        if (one["value"], one["met"]) != (value, met):
            found.append(f"requirement {one['text']!r} says {one['met']}, its metric says {met}")
    return found


def _same(found: list[str], what: str, derived: Any, stated: Any, tolerance: float = EXACT) -> None:
    close = derived is not None and stated is not None and np.allclose(derived, stated, rtol=tolerance, atol=1e-12)
    if not close:
        found.append(f"{what} does not follow from the tables")
