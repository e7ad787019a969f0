"""What a push is compared with: the same lengths, position by position, along other directions.

| family | directions |
|---|---|
| random_direction | from the sphere |
| covariance_matched | N(0, Σ) of the site, which pushes where it is used to move |
| norm_matched | live features of the same codec, drawn at random |
| frequency_matched | those nearest in log firing rate and mean active value |
| shuffled_label | of a fitted direction: refitted on permuted labels, handed in |

Features that are tested, or that the caller names, are no controls. A codec without other live features has no controls
of the third and fourth kind.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from radiograph.core import derive
from radiograph.core.shapes import Float, Float64
from radiograph.interventions.features._naturals import Naturals

FAMILIES: Final = (
    "random_direction",
    "covariance_matched",
    "norm_matched",
    "frequency_matched",
    "shuffled_label",
)


@dataclass(frozen=True, eq=False)
class Control:
    """One direction of length 1."""

    family: str
    index: int
    direction: Float64[np.ndarray, " width"]
    feature: int | None = None
    """Number of the feature whose direction it is."""


def controls_of(
    number: int,
    naturals: Naturals,
    write: Callable[[np.ndarray], Float[np.ndarray, "feature width"]],
    *,
    count: int,
    seed: int,
    exclude: Collection[int] = (),
    shuffled: Float[np.ndarray, "draw width"] | None = None,
) -> list[Control]:
    """Up to `count` of every family that applies, in the order of the families."""
    width = len(naturals.covariance)
    rng = np.random.default_rng(derive(seed, "controls", str(number)))
    out = _unit("random_direction", rng.standard_normal((count, width)))
    values, vectors = np.linalg.eigh(naturals.covariance)
    out += _unit("covariance_matched", (rng.standard_normal((count, width)) * np.sqrt(values.clip(min=0))) @ vectors.T)
    live = np.flatnonzero(naturals.fired > 0)
    live = live[~np.isin(live, [number, *exclude])]
    if len(live):
        drawn = np.sort(rng.choice(live, min(count, len(live)), replace=False))
        out += _unit("norm_matched", write(drawn), drawn.tolist())
        near = live[np.argsort(_distance(naturals, number, live), kind="stable")[:count]]
        out += _unit("frequency_matched", write(near), near.tolist())
    if shuffled is not None:
        out += _unit("shuffled_label", shuffled[:count])
    return out


def _distance(naturals: Naturals, number: int, others: np.ndarray) -> Float64[np.ndarray, " feature"]:
    """In standard deviations of log firing rate and log mean active value, over live features."""
    table = np.stack(
        [
            np.log(np.maximum(naturals.fired, 0.5) / naturals.n),
            np.log(np.maximum(np.abs(naturals.mean), 1e-12)),
        ]
    )
    spread = table[:, others].std(axis=1)
    scaled = table / np.where(spread > 0, spread, 1.0)[:, None]
    return np.square(scaled[:, others] - scaled[:, [number]]).sum(axis=0)


def _unit(family: str, rows: Float[np.ndarray, "draw width"], features: Sequence[int] = ()) -> list[Control]:
    rows = np.asarray(rows, np.float64)
    lengths = np.linalg.norm(rows, axis=1)
    return [
        Control(family, index, row / length, features[index] if features else None)
        for index, (row, length) in enumerate(zip(rows, lengths, strict=True))
        if length > 0
    ]
