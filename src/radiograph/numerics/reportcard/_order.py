"""Does a model know the order in which a benchmark was published? A test that only seeing it in that order explains.

1. items stand in shards of consecutive ones; each shard is read in its own order and in `draws` others
2. t of a shard: nats of the mean of the other orders less those of its own. Who never saw the order gives equal chances
   to all of them, so the mean over shards is 0, whatever the items are
3. Student's t over shards, one-sided (Oren et al. 2023, "Proving test set contamination in black box language models",
   the sharded test); p is never below 2^-shards, that of signs alone. Units: nats a shard
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from radiograph.core import Refusal
from radiograph.core.shapes import Float64
from radiograph.numerics._finite import finite

ORDER_SHARDS = 10
"""Shards that the test needs."""


@dataclass(frozen=True)
class OrderTest:
    """How much easier the published order is."""

    nats: float
    """Mean over shards, above 0: the published order is the easier one."""
    p: float
    shards: int


def order_known(own: Float64[np.ndarray, " shard"], others: Float64[np.ndarray, "shard draw"]) -> OrderTest:
    """The test, from the summed nats of every shard in its own and in other orders.

    Raises:
        Refusal: fewer than ten shards. UserError: a loss is not finite.
    """
    if len(own) < ORDER_SHARDS:
        raise Refusal("few_shards", f"{len(own)} shards of items in order", expected=f"{ORDER_SHARDS} or more")
    gained = finite(others, "nats of other orders").mean(1) - finite(own, "nats of the published order")
    mean, spread = float(gained.mean()), float(gained.std(ddof=1))
    # Where shards hardly differ t knows no error: that all gain is never less likely than that all coins fall alike.
    least = 0.5 ** len(own)
    if spread == 0:
        return OrderTest(mean, least if mean > 0 else 1.0, len(own))
    from scipy import special  # pyright: ignore[reportMissingTypeStubs]

    t = mean / (spread / np.sqrt(len(own)))
    return OrderTest(mean, max(least, float(cast(Any, special).stdtr(len(own) - 1, -t))), len(own))
