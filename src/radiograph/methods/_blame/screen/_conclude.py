"""From tables to the numbers of a screen; `run` and `verify` both go this way. Needs no torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from radiograph.core import FormatError, derive
from radiograph.evidence import Estimate
from radiograph.evidence.influence import STRONG, BlameScreen, ScreenedRow, ScreenNull, UnscreenedRow
from radiograph.numerics.influence import ranked
from radiograph.numerics.resampling import bootstrap, weighted_mean, widened

Columns = Mapping[str, Any]
LISTED = 100
_ROUNDING = 1e-9


def stands_out(score: np.ndarray, null: np.ndarray) -> np.ndarray:
    """Whether a score is larger than random directions make it; one of 0 along all of them is not."""
    return (score > STRONG * null) & (null > 0)


def order(table: Columns) -> np.ndarray:
    """Rows of `tables/rows`, highest score first; of equal ones the row's hash decides, never its place."""
    return ranked(np.asarray(table["score"], dtype=np.float64), np.asarray(table["tie"]))


def concluded(table: Columns, directions: Columns, unscored: Columns, seed: int) -> dict[str, Any]:
    """Every number of a result that follows from its tables, by field."""
    # Summed in an order of their own, so that a permuted file gives the same last digits.
    sums = np.argsort(np.asarray(table["tie"]), kind="stable")
    score, null, different, prompt = (np.asarray(table[n])[sums] for n in ("score", "null", "different", "prompt"))
    own = score[different]
    mean = float(own.mean())
    spread = float(own.std())
    strong = int(stands_out(own, null[different]).sum())
    return {
        "rows_scored": len(score),
        "different": len(own),
        "prompts": len(np.unique(prompt)),
        "same": int(np.asarray(table["same"])[sums][different].sum()),
        "mean": _mean(own, prompt[different], mean, seed),
        "spread": spread,
        "strong": strong,
        "null": _null(directions, mean, spread, strong),
        "unscored": tuple(
            UnscreenedRow(line=line, why=why)
            for line, why in zip(unscored["line"][:LISTED], unscored["why"][:LISTED], strict=True)
        ),
        "unscored_count": len(unscored["line"]),
        "why": dict(sorted(Counter(unscored["why"]).items())),
    }


def _mean(score: np.ndarray, prompt: np.ndarray, mean: float, seed: int) -> Estimate:
    """Answers to one prompt share what they are compared with: prompts are what is drawn again."""
    _, at = np.unique(prompt, return_inverse=True)
    sums, sizes = np.bincount(at, score).astype(np.float64), np.bincount(at).astype(np.float64)
    low = high = None
    if len(sums) > 1:
        drawn = bootstrap(weighted_mean(sums / sizes, sizes), len(sums), seed=derive(seed, "screen"))
        low, high = widened(mean, drawn.interval(), drawn.n)
    return Estimate(value=mean, low=low, high=high, n=len(score), unit="score", method="bootstrap over prompts")


def _null(directions: Columns, mean: float, spread: float, strong: int) -> ScreenNull:
    means, spreads, counts = (np.asarray(directions[name], dtype=np.float64) for name in ("mean", "spread", "strong"))

    def share(reached: np.ndarray) -> float:
        return (1 + int(reached.sum())) / (1 + len(means))

    return ScreenNull(
        draws=len(means),
        mean=_range(means),
        p=share(np.abs(means) >= abs(mean) - _ROUNDING),
        spread=_range(spreads),
        spread_p=share(spreads >= spread - _ROUNDING),
        strong=float(np.quantile(counts, 0.95)),
        strong_p=share(counts >= strong),
    )


def _range(values: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def described(table: Columns, i: int) -> ScreenedRow:
    """What the table says of one row, without its texts."""
    names = ("row", "line", "id", "row_sha256", "answer", "reference", "score", "z", "tokens", "reference_tokens")
    return ScreenedRow(text="", said="", **{name: table[name][i] for name in names})


def z_of(score: np.ndarray, null: np.ndarray) -> np.ndarray:
    """Scores in units of what random directions give; 0 where these give nothing."""
    return np.divide(score, null, out=np.zeros_like(score), where=null > 0)


def differences(stored: BlameScreen, folder: Path) -> list[str]:
    """What does not follow from the tables; empty where all does."""
    from radiograph.store import Bundle

    table, directions, unscored = (_table(folder, name) for name in ("rows", "directions", "unscored"))
    score = np.asarray(table["score"], dtype=np.float64)
    said: list[str] = []
    if not np.array_equal(score, np.asarray(table["answer"]) - np.asarray(table["reference"])):
        said.append("scores are not the difference of what is read of both answers")
    if not np.array_equal(np.asarray(table["z"]), z_of(score, np.asarray(table["null"], dtype=np.float64))):
        said.append("z does not follow from scores and their size along random directions")
    again = concluded(table, directions, unscored, Bundle(folder).manifest.seed)
    said += [
        f"/{name} is {getattr(stored, name)}, the tables give {value}"
        for name, value in again.items()
        if getattr(stored, name) != value
    ]
    if stored.rows != stored.rows_scored + stored.unscored_count:
        said.append(f"/rows is {stored.rows}, the tables hold {len(score) + len(unscored['line'])}")
    shown = min(Bundle(folder).manifest.config["top_k"], len(score))
    if len(stored.top) != shown:
        said.append(f"/top holds {len(stored.top)} rows, {shown} were to be shown")
    places = order(table)[: len(stored.top)].tolist()
    for number, (row, i) in enumerate(zip(stored.top, places, strict=False)):
        if row.model_copy(update={"text": "", "said": ""}) != (own := described(table, i)):
            said.append(f"/top/{number} is not what tables/rows.parquet gives: line {own.line}, score {own.score}")
    return said


def _table(folder: Path, name: str) -> dict[str, Any]:
    import polars as pl

    path = folder / "tables" / f"{name}.parquet"
    if not path.is_file():
        raise FormatError(f"{path.name} is missing", where=f"tables/{path.name}")
    return pl.read_parquet(path).to_dict(as_series=False)
