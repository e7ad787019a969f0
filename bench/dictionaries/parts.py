"""Where a step of ours spends its time: the parts of its budget, by wrapping the functions that do them."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from radiograph.dictionaries.training._optimiser import Adam
from radiograph.dictionaries.training._step import _select, _sparse
from radiograph.numerics.sparse import ByFeature

ROUNDS = 5


def profiled(step: Callable[[], object], adam: Adam) -> dict[str, float]:
    """Processor seconds per step of every part, and of the whole."""
    spent: dict[str, float] = defaultdict(float)
    depth = [0]

    def timed(part: Callable[..., str], work: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            depth[0] += 1
            start = time.process_time()
            try:
                return work(*args, **kwargs)
            finally:
                depth[0] -= 1
                if depth[0] == 0:
                    spent[part(*args)] += time.process_time() - start

        return wrapped

    places: list[tuple[Any, str, str]] = [
        (_select, "top_k", "top-k"),
        (_sparse, "gather_sum", "decode and dz"),
        (_sparse, "sampled_products", "decode and dz"),
        (_sparse, "by_feature", "scatter products"),
        (ByFeature, "product", "scatter products"),
        (_select, "linear", "product of rows and encoder"),
        (Adam, "update", "optimiser and renormalising"),
    ]
    held = [getattr(owner, name) for owner, name, _ in places]
    try:
        for owner, name, part in places:
            setattr(owner, name, timed(lambda *_, part=part: part, getattr(owner, name)))
        start = time.process_time()
        for _ in range(ROUNDS):
            step()
        spent["whole"] = time.process_time() - start
    finally:
        for (owner, name, _), work in zip(places, held, strict=True):
            setattr(owner, name, work)
    spent["rest"] = spent["whole"] - sum(seconds for part, seconds in spent.items() if part != "whole")
    return {part: seconds / ROUNDS for part, seconds in spent.items()}
