"""Pairs of features without shared prompts: write directions that lie in one space.

Explanations never pair features: they are what somebody said of them. What pairs has no null of exchange, so no p.
"""

from __future__ import annotations

import numpy as np

from radiograph.methods._match.fingerprints import Features
from radiograph.methods._match.sides import Side
from radiograph.numerics.matching import Nearest


def pairs(sides: tuple[Side, Side]) -> tuple[Nearest, Features] | None:
    """The nearest right direction of every left one, within each space that both sides write into; None without any.

    Places of the result are those among the features that were compared.
    """
    from radiograph.numerics.matching import nearest

    left, right = sides
    if left.directions is None or right.directions is None or left.directions.shape[1] != right.directions.shape[1]:
        return None
    shared = sorted({b for b in left.bases if b} & {b for b in right.bases if b})
    found: list[Nearest] = []
    ours, theirs = list[np.ndarray](), list[np.ndarray]()
    for basis in shared:
        own = np.flatnonzero([b == basis for b in left.bases])
        other = np.flatnonzero([b == basis for b in right.bases])
        before = sum(map(len, theirs))
        one = nearest(left.directions[own], right.directions[other])
        found.append(one._replace(place=one.place + before))
        ours.append(own)
        theirs.append(other)
    if not found:
        return None
    joined = Nearest(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
    return joined, Features(np.concatenate(ours), np.concatenate(theirs))
