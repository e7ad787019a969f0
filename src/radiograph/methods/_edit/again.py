"""What an edit's bundle says, derived again from its tables. No torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from radiograph.evidence.edits import Edit
from radiograph.numerics.distances import DISTANCES, effects, gain, judged, limit_of
from radiograph.numerics.proportions import Interval
from radiograph.store import Bundle


def problems(stored: Edit, folder: Path) -> list[str]:
    """What does not follow."""
    import polars as pl

    tables, seed = folder / "tables", Bundle(folder).manifest.seed
    positions = pl.read_parquet(tables / "positions.parquet")
    kind, document = positions["kind"].to_numpy(), positions["document"].to_numpy()
    found = effects(positions["kl"].to_numpy(), positions["rise"].to_numpy(), kind, document, seed=seed)
    out: list[str] = []
    by_name = {d.distance: d for d in stored.distances}
    for name in DISTANCES:
        effect, own = found[name], by_name.get(name)
        same = own is not None and (own.positions, own.documents) == (effect.positions, effect.documents)
        if own is None or not same or not _close(own.kl, effect.kl) or not _pair(own.kl_interval, effect.kl_interval):
            out.append(f"/distances/{name}: does not follow from tables/positions.parquet")
        elif not _close(own.perplexity, effect.perplexity):
            out.append(f"/distances/{name}/perplexity: does not follow from tables/positions.parquet")
    null = pl.read_parquet(tables / "null.parquet")["far"].to_list()
    if tuple(null) != stored.null_far:
        out.append("/null_far: not that of tables/null.parquet")
    answers = pl.read_parquet(tables / "answers.parquet")
    for own in stored.answers:
        rows = answers.filter(pl.col("what") == own.what)
        rise, interval = gain(rows["before"].to_numpy(), rows["after"].to_numpy(), seed=seed)
        if not _close(rise, own.rise) or not _pair(own.interval, interval) or own.n != len(rows):
            out.append(f"/answers/{own.what}: does not follow from tables/answers.parquet")
    wanted = next((a for a in reversed(stored.answers) if a.what in ("foil", "target")), None)
    between = None if wanted is None or wanted.interval is None else Interval(*wanted.interval)
    rise = None if wanted is None else wanted.rise
    if stored.max_far_given is None and not _close(stored.max_far, limit_of(null)):
        out.append("/max_far: not the limit that the null gives")
    again = judged(stored.firings, rise, between, found["far"], least_gain=stored.least_gain, max_far=stored.max_far)
    if again != stored.judgement:
        out.append(f"/judgement: {stored.judgement}, but the numbers give {again}")
    return out


def _close(one: float | None, other: float | None) -> bool:
    return one is other is None or (one is not None and other is not None and bool(np.isclose(one, other, atol=1e-12)))


def _pair(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return one is None and other is None
    return all(_close(a, b) for a, b in zip(one, other, strict=True))
