"""From tables to conclusions: ranks, intervals, whether rows were learned. `run` and `recompute` both go this way."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from radiograph.core import Refusal
from radiograph.evidence.influence import Learnt
from radiograph.numerics.influence import ranked
from radiograph.numerics.resampling import bootstrap, weighted_mean

PLAIN = {"words": "words", "loss": "loss_reference", "drop": "drop", "norm": "norm"}
"""Orders that need no gradients of a target, and the columns they go by."""
RESAMPLES = 2000
Columns = Mapping[str, Any]


@dataclass(frozen=True)
class Ranking:
    """Rows of a table in order, and what each order says of them."""

    order: np.ndarray
    ranks: dict[str, np.ndarray]
    intervals: list[tuple[float, float] | None]
    agreement: dict[str, float]


def ranking(table: Columns, method: str, methods: Sequence[str], rank: str) -> Ranking:
    """Orders of all rows of `tables/rows`, by each method (`relative` or `score` of it) and by what is cheap."""
    from radiograph.numerics.audit.stability import spearman

    tie = np.asarray(table["tie"])
    columns = {name: np.asarray(table[f"{rank}_{name}"], dtype=np.float64) for name in methods}
    columns |= {name: np.asarray(table[column], dtype=np.float64) for name, column in PLAIN.items()}
    places: dict[str, np.ndarray] = {}
    for name, values in columns.items():
        own = np.empty(len(values), dtype=np.int64)
        own[ranked(values, tie)] = np.arange(1, len(values) + 1)
        places[name] = own
    agreement = {n: spearman(columns[method], v) for n, v in columns.items() if n != method}
    return Ranking(
        order=ranked(columns[method], tie),
        ranks=places,
        intervals=_intervals(table),
        agreement={name: rho for name, rho in agreement.items() if rho is not None},
    )


def _intervals(table: Columns) -> list[tuple[float, float] | None]:
    """Intervals of scores by Student's t, over groups of targets."""
    from scipy.stats import t  # pyright: ignore[reportMissingTypeStubs]

    names = sorted(name for name in table if name.startswith("group_"))
    if len(names) < 2:
        return [None] * len(table["row"])
    groups = np.stack([np.asarray(table[name], dtype=np.float64) for name in names])
    half = float(t.ppf(0.975, len(names) - 1)) * groups.std(0, ddof=1) / math.sqrt(len(names))
    middle = groups.mean(0)
    return [(float(m - h), float(m + h)) for m, h in zip(middle, half, strict=True)]


def relative_groups(table: Columns, lengths: Sequence[float]) -> np.ndarray:
    """Relative scores [row, group] of the method that orders rows."""
    from radiograph.numerics.influence import relative

    names = sorted(name for name in table if name.startswith("group_"))
    scores = np.stack([np.asarray(table[name], dtype=np.float64) for name in names], axis=1)
    return relative(scores, np.asarray(table["energy"], dtype=np.float64), np.asarray(lengths, dtype=np.float64))


def learnt(table: Columns, seed: int) -> Learnt:
    """The mean drop of the loss over different rows, and its interval."""
    drop = np.asarray(table["drop"], dtype=np.float64)
    names = np.asarray(table["row_sha256"])
    if len(set(names.tolist())) < 2:
        return Learnt(
            n=len(set(names.tolist())), drop=float(drop.mean()), interval=(float(drop.min()), float(drop.max()))
        )
    # Sorted, so that the order of the file does not decide which rows are drawn.
    order = np.lexsort((np.asarray(table["line"]), names))
    found = bootstrap(weighted_mean(drop[order]), len(drop), seed=seed, resamples=RESAMPLES, clusters=names[order])
    low, high = found.interval()
    return Learnt(n=found.n, drop=found.estimate, interval=(low, high))


def unlearned(record: Learnt) -> Refusal | None:
    """Why the rows do not look trained on; None where they do."""
    if record.interval[0] > 0:
        return None
    low, high = record.interval
    return Refusal(
        "not_trained_on_these_rows",
        "the candidate does not find these rows likelier than the reference does",
        expected="a mean loss below the reference's, beyond its interval",
        got=f"a drop of {record.drop:.3g} nats a token [{low:.3g}, {high:.3g}] over {record.n} rows",
        fix="give the rows that the candidate was trained on, or go on with --weak, which is stamped",
    )
