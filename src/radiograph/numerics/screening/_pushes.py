"""What pushes at the last residual do to the next token and to a plane, without running the network.

1. x + s·d for every push: logits through a tail function; KL(before ‖ after) in nats, from float64 logits
2. where the vector points: (x − c)/‖x − c‖ on the two axes of a plane

Costs one product with the unembedding a push; in chunks, so that memory does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from radiograph.core.shapes import Float64

Tail = Callable[[Float64[np.ndarray, "row width"]], Float64[np.ndarray, "row vocabulary"]]
_CHUNK = 1 << 22
"""Logits held at once."""


def divergence(
    before: Float64[np.ndarray, "row vocabulary"], after: Float64[np.ndarray, "row vocabulary"]
) -> Float64[np.ndarray, " row"]:
    """KL(before ‖ after) of logits, in nats."""
    one = before - before.max(axis=1, keepdims=True)
    two = after - after.max(axis=1, keepdims=True)
    p = np.exp(one)
    total = p.sum(axis=1)
    apart = (p * (one - two)).sum(axis=1) / total
    return np.maximum(apart - np.log(total) + np.log(np.exp(two).sum(axis=1)), 0.0)


def pushed(
    rows: Float64[np.ndarray, "prompt width"],
    pushes: Float64[np.ndarray, "prompt push"],
    directions: Float64[np.ndarray, "push width"],
    tail: Tail,
) -> Float64[np.ndarray, "prompt push"]:
    """KL of every prompt under every push (its signed length, along a unit direction)."""
    out = np.empty(pushes.shape)
    before = tail(rows)
    step = max(1, _CHUNK // before.shape[1])
    for place, row in enumerate(rows):
        for start in range(0, len(directions), step):
            part = slice(start, start + step)
            after = tail(row + pushes[place, part, None] * directions[part])
            out[place, part] = divergence(np.broadcast_to(before[place], after.shape), after)
    return out


def displaced(
    rows: Float64[np.ndarray, "prompt width"],
    pushes: Float64[np.ndarray, "prompt push"],
    directions: Float64[np.ndarray, "push width"],
    centre: Float64[np.ndarray, " width"],
    plane: Float64[np.ndarray, "2 width"],
) -> Float64[np.ndarray, "prompt push 2"]:
    """Δz of every prompt under every push, exactly: lengths follow from dot products."""
    x = rows - centre
    length = np.square(x).sum(axis=1)
    along, onto = x @ directions.T, x @ plane.T
    after = np.sqrt(np.maximum(length[:, None] + 2 * pushes * along + pushes**2, 1e-300))
    moved = (onto[:, None, :] + pushes[:, :, None] * (directions @ plane.T)[None]) / after[:, :, None]
    return moved - (onto / np.sqrt(length)[:, None])[:, None, :]
