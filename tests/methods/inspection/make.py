"""Files of records with features of known truth, and a run of `inspect` on them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from running import go

WORDS = ("stone", "river", "lamp", "cloud", "table", "garden", "window", "letter", "bridge", "candle")
CRITERION = "mentions of physical units"
QUICK = {"permutations": 200, "bootstrap": 200}


def text_of(row: int) -> str:
    """A text of its own for each row below ten thousand."""
    return " ".join(WORDS[row // 10**place % 10] for place in range(4))


def lines(rows: int = 160, *, seed: int = 1, noise: int = 20, planted: bool = True) -> list[dict[str, Any]]:
    """Rows with labels in turn, a third of the negatives near misses.

    `metre` fires on positives alone, `form` on positives and near misses, `n0` … at random.
    """
    rng = np.random.default_rng(seed)
    out: list[dict[str, Any]] = []
    for row in range(rows):
        positive = row % 2 == 0
        kind = "positive" if positive else "near_miss" if row % 3 == 0 else "negative"
        fires = {f"n{i}": round(float(v), 5) for i, v in enumerate(rng.exponential(size=noise)) if rng.random() < 0.4}
        if planted and rng.random() < (0.9 if positive else 0.1):
            fires["metre"] = round(float(rng.uniform(1, 2)), 5)
        if planted and rng.random() < (0.05 if kind == "negative" else 0.95):
            fires["form"] = round(float(rng.uniform(1, 2)), 5)
        head = {"model": "m", "prompt_id": f"p{row}", "group_id": f"g{row}", "text": text_of(row)}
        out.append(head | {"criterion_score": float(positive), "kind": kind, "features": fires})
    return out


def write(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    """JSON Lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def inspect(source: str | Sequence[str] = "records:records.jsonl", *, out: str | None = None, **more: Any) -> Any:
    """Run on the file in the working directory."""
    features = [source] if isinstance(source, str) else list(source)
    return go("inspect", out=out, **({"model": "m", "criterion": CRITERION, "features": features} | QUICK | more))


def table(outcome: Any, name: str = "correlational") -> Any:
    """A table of the bundle."""
    import polars

    return polars.read_parquet(outcome.path / "tables" / f"{name}.parquet")
