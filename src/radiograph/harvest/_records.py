"""Codes of a shard as a part of sparse records: a line a kept token, or a line a prompt; all entries or the largest.

Every row is listed, also where nothing fires; its number is the place of its token among all that the plan keeps, so it
does not depend on other shards (rows left out for their norm leave gaps). Pooling over a prompt's kept tokens, zeros
included: max, mean, last (the last kept token), sum, count (tokens on which the feature fired).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from radiograph.harvest._capture import Captured
from radiograph.harvest._plan import Plan
from radiograph.store.records import Entries

if TYPE_CHECKING:
    import polars

Pool = Literal["max", "mean", "last", "sum", "count"]


def part_of(
    found: Captured, plan: Plan, first: int, pool: Pool | None, keep: int | None = None
) -> tuple[polars.DataFrame, Entries]:
    """Rows and entries of the shard whose first window is `first`; `keep` is how many entries a row may have."""
    import polars as pl

    assert found.codes is not None, "the engine has a codec"
    codes = found.codes
    entries = Entries(codes.indices.cpu().numpy(), codes.values.float().cpu().numpy(), codes.offsets.cpu().numpy())
    if pool is None:
        columns = {
            "row": found.place.astype(np.uint32),
            "token": found.position.astype(np.int32),
            "prompt": found.prompt,
            "token_id": found.token,
        }
        prompts = found.prompt
    else:
        prompts, counts = np.unique(found.prompt, return_counts=True)
        entries = pooled(entries, np.repeat(np.arange(len(prompts)), counts), pool)
        columns = {
            "row": prompts,
            "token": np.full(len(prompts), -1, np.int32),
            "prompt": prompts,
            "n_tokens": counts.astype(np.uint32),
        }
    if keep is not None:
        entries = largest(entries, keep)
    own = plan.prompts[first : int(prompts[-1]) + 1] if len(prompts) else plan.prompts[:0]
    named = own.select("prompt_id", pl.col("group").alias("group_id"), "split")[prompts.astype(np.int64) - first]
    return pl.concat([pl.DataFrame(columns), named], how="horizontal"), entries


def pooled(entries: Entries, owner: NDArray[np.int64], pool: Pool) -> Entries:
    """Entries of groups of consecutive rows; `owner` is the group of each row, ascending, every group present."""
    count = np.diff(entries.offsets)
    groups = int(owner[-1]) + 1 if len(owner) else 0
    group = np.repeat(owner, count)
    values = entries.values.astype(np.float64)
    keep = np.ones(len(values), bool)
    if pool == "last":
        ends = np.append(np.flatnonzero(np.diff(owner)), len(owner) - 1)
        final = np.zeros(len(owner), bool)
        final[ends] = True
        keep = np.repeat(final, count)
    group, feature, values = group[keep], entries.features[keep].astype(np.int64), values[keep]
    order = np.lexsort((feature, group))
    group, feature, values = group[order], feature[order], values[order]
    fresh = np.ones(len(group), bool)
    fresh[1:] = (np.diff(group) != 0) | (np.diff(feature) != 0)
    starts = np.flatnonzero(fresh)
    present = np.diff(np.append(starts, len(values)))
    if pool == "max":
        made = np.maximum.reduceat(values, starts) if len(starts) else values
        silent = present < np.bincount(owner, minlength=groups)[group[starts]]
        made = np.where(silent, np.maximum(made, 0), made)
    elif pool == "count":
        made = present.astype(np.float64)
    else:
        made = np.add.reduceat(values, starts) if len(starts) else values
    if pool == "mean":
        made = made / np.bincount(owner, minlength=groups)[group[starts]]
    kept = made != 0
    per = np.bincount(group[starts][kept], minlength=groups)
    return Entries(feature[starts][kept], made[kept].astype(np.float32), np.concatenate([[0], np.cumsum(per)]))


def largest(entries: Entries, keep: int) -> Entries:
    """The `keep` entries of each row that are largest in size; of equal ones those of lower features."""
    count = np.diff(entries.offsets)
    row = np.repeat(np.arange(len(count)), count)
    order = np.lexsort((entries.features, -np.abs(entries.values), row))
    taken = np.sort(order[np.arange(len(row)) - entries.offsets[:-1][row] < keep])
    ends = np.cumsum(np.minimum(count, keep))
    return Entries(entries.features[taken], entries.values[taken], np.concatenate([[0], ends]))
