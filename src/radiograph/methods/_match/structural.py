"""Pairs of features without shared prompts: write directions that lie in one space.

Explanations never pair features: they are what somebody said of them. What pairs has no null of exchange, so no p.
"""

from __future__ import annotations

import numpy as np

from radiograph.methods._match.fingerprints import Features, shared_spaces
from radiograph.methods._match.sides import Side
from radiograph.numerics.matching import Nearest


def pairs(sides: tuple[Side, Side]) -> tuple[Nearest, Features] | None:
    """The nearest right direction of every left one, within each space that both sides write into; None without any.

    Places of the result are those among the features that were compared.
    """
    from radiograph.numerics.matching import nearest

    found: list[Nearest] = []
    ours, theirs = list[np.ndarray](), list[np.ndarray]()
    for left, right in shared_spaces(*sides):
        before = sum(map(len, theirs))
        one = nearest(left.rows, right.rows)
        found.append(one._replace(place=one.place + before))
        ours.append(left.features)
        theirs.append(right.features)
    if not found:
        return None
    joined = Nearest(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
    return joined, Features(np.concatenate(ours), np.concatenate(theirs))
