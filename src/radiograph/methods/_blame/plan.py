"""What a run costs, from 32 rows that are timed; and which rows to leave out so that it fits.

Rows are taken evenly over lengths. A pass over all rows costs their number over the rate; `datainf`, `dot` and `cosine`
share one where gradients are stored, and take one a sweep where they are not (3, 1, 1); `ekfac` takes two more, of half
again the work; `tracin` one a checkpoint. Comparing the end of the path, or a projection, takes a pass over some rows
each, tokens three forwards of the leading ones. Copies that are trained cost their number over the workers, by a few
steps that are timed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from radiograph.core import UserError, derive
from radiograph.evidence.influence import BlamePlan

if TYPE_CHECKING:
    from radiograph.harvest.gradients import Projection
    from radiograph.methods._blame.rows import Data
    from radiograph.models import LanguageModel

TIMED = 32
STRATA = 10
SHORTEST, LONGEST = 60.0, 24 * 3600.0
_TIME = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h)")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
_OVERHEAD = 200 * 2**20
COMPARED = 256


@dataclass(frozen=True)
class Copies:
    """What retraining takes."""

    number: int
    seconds: float
    """Of all of them."""


def seconds(text: str) -> float:
    """A budget, `90s`, `30m` or `4h`.

    Raises:
        UserError: another form, below a minute, above a day.
    """
    match = _TIME.fullmatch(text.strip())
    value = float(match[1]) * _UNITS[match[2]] if match else -1.0
    if not SHORTEST <= value <= LONGEST:
        raise UserError(f"cannot read {text!r}", where="--budget", expected="60s to 24h, as 90s, 30m or 4h")
    return value


def plan(
    model: LanguageModel,
    projection: Projection,
    data: Data,
    *,
    methods: Sequence[str],
    stored: bool,
    checkpoints: int,
    shard_rows: int,
    budget: float,
    tokens: int,
    copies: Copies | None,
) -> BlamePlan:
    """Time some rows."""
    from radiograph.harvest.gradients import gradient_engine

    step = max(1, len(data.rows) // TIMED)
    rows = [row.learned for row in data.rows[::step][:TIMED]]
    with gradient_engine(model, projection) as engine:
        engine.rows(rows[:2])
        began = time.perf_counter()
        engine.rows(rows)
        spent = max(time.perf_counter() - began, 1e-6)
    a_pass = spent / len(rows) * len(data.rows) / 3600
    hours: dict[str, float] = {}
    shared = [name for name in ("datainf", "dot", "cosine", "ekfac") if name in methods]
    if shared:
        passes = 1.0 if stored else 3.0 if "datainf" in methods else 1.0
        hours["gradients"] = passes * a_pass
    if "ekfac" in methods:
        hours["ekfac"] = 3 * a_pass
    if "tracin" in methods:
        hours["tracin"] = checkpoints * a_pass
    compared = min(COMPARED, len(data.rows)) * (1 if projection.exact else 3) + min(tokens, len(data.rows))
    hours["checks"] = compared * spent / len(rows) / 3600
    if copies is not None:
        hours["copies"] = copies.seconds / 3600
    entries = projection.layout.size
    return BlamePlan(
        rows=len(data.rows),
        timed=len(rows),
        entries=entries,
        rows_per_second=len(rows) / spent,
        disk_bytes=len(data.rows) * entries * (4 if projection.exact else 2) if stored and shared else 0,
        memory_bytes=2 * min(shard_rows, len(data.rows)) * entries * 4 + _OVERHEAD,
        hours=hours,
        budget_hours=budget / 3600,
    )


def fitting(data: Data, drop: np.ndarray, share: float, seed: int) -> Data:
    """A share of the rows, drawn by hash within tenths of the loss drop: what was learned most is as well kept."""
    order = np.argsort(drop, kind="stable")
    keys = np.array([derive(seed, "fit", row.sha256, row.line) for row in data.rows], dtype=np.float64)
    kept: list[int] = []
    for stratum in np.array_split(order, min(STRATA, len(order))):
        count = max(1, int(share * len(stratum)))
        kept += stratum[np.argsort(keys[stratum], kind="stable")][:count].tolist()
    return data.kept(kept)
