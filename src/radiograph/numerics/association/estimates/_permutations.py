"""Permutation p-values of many features from one set of draws: sparse products, a chunk of draws at a time.

1. a statistic is linear in its weights (labels, ranks of a score, signs of pairs), so all draws of all features are one
   product [draw, unit] @ [unit, feature]
2. labels are exchanged inside blocks; signs are flipped with probability ½
3. p = (1 + b)/(1 + B), b = draws whose |z| is at least the observed one (Phipson and Smyth 2010)
4. the same draws give the largest |z| of each, hence p over the whole family (`multiplicity.max_t`)

Draws come from one stream per kind of block, so chunks change no number. Cost: O(B·(N + entries)).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import numpy as np

from radiograph.core.seeds import derive
from radiograph.core.shapes import Float64, Int64
from radiograph.numerics.association._columns import Columns
from radiograph.numerics.association.estimates._ranks import Moments
from radiograph.numerics.multiplicity import max_t

_CHUNK = 1 << 22
"""Weights held at once: 32 MiB."""
_SLACK = 1e-9
"""Equal statistics in another order of addition differ by less."""


class Permuted(NamedTuple):
    """p of each observed statistic alone, and over its family."""

    p: Float64[np.ndarray, " feature"]
    family: Float64[np.ndarray, " feature"]


def exchanges(
    weight: Float64[np.ndarray, " unit"], block: Int64[np.ndarray, " unit"], draws: int, seed: int
) -> Iterator[Float64[np.ndarray, "unit draw"]]:
    """Weights exchanged inside blocks, in chunks. Blocks of two take one stream, every larger one its own."""
    step = max(1, _CHUNK // max(len(weight), 1))
    order = np.argsort(block, kind="stable")
    sizes = np.bincount(block)
    ends = np.cumsum(sizes)
    two = order[(ends[sizes == 2] - 2)[:, None] + np.arange(2)].reshape(-1, 2)
    flips = np.random.default_rng(derive(seed, "pairs"))
    large = [order[ends[b] - sizes[b] : ends[b]] for b in np.flatnonzero(sizes > 2)]
    streams = [np.random.default_rng(derive(seed, "block", place)) for place in range(len(large))]
    alone = np.flatnonzero(sizes[block] == 1)
    for start in range(0, draws, step):
        own = min(step, draws - start)
        out = np.zeros((len(weight), own))
        out[alone] = weight[alone, None]
        if len(two):
            one, other = weight[two[:, 0], None], weight[two[:, 1], None]
            turned = flips.random((own, len(two))).T < 0.5
            out[two[:, 0]], out[two[:, 1]] = np.where(turned, other, one), np.where(turned, one, other)
        for members, stream in zip(large, streams, strict=True):
            _shuffle(out, members, weight[members], stream)
        yield out


def _shuffle(
    out: Float64[np.ndarray, "unit draw"],
    members: Int64[np.ndarray, " member"],
    weight: Float64[np.ndarray, " member"],
    stream: np.random.Generator,
) -> None:
    """Fill in the rows of a block; of labels only the places of ones are drawn, which is quicker."""
    draws = out.shape[1]
    positive = int(np.clip(weight, 0, 1).sum())
    if not np.isin(weight, (0.0, 1.0)).all() or not 0 < positive < len(weight):
        out[members] = stream.permuted(np.repeat(weight[None], draws, axis=0), axis=1).T
        return
    chosen = np.argpartition(stream.random((draws, len(members))), positive - 1, axis=1)[:, :positive]
    places = np.zeros((draws, len(members)))
    np.put_along_axis(places, chosen, 1.0, axis=1)
    out[members] = places.T


def flips(units: int, draws: int, seed: int) -> Iterator[Float64[np.ndarray, "unit draw"]]:
    """Signs, in chunks."""
    step = max(1, _CHUNK // max(units, 1))
    stream = np.random.default_rng(derive(seed, "signs"))
    for start in range(0, draws, step):
        yield np.where(stream.random((min(step, draws - start), units)).T < 0.5, -1.0, 1.0)


def permuted(
    table: Columns,
    score: Float64[np.ndarray, " entry"],
    drawn: Iterator[Float64[np.ndarray, "unit draw"]],
    law: Moments,
    families: list[tuple[Int64[np.ndarray, " member"], Float64[np.ndarray, " member"]]],
) -> list[Permuted]:
    """Each family is (features of the table, observed z); all are compared with the same draws.

    `law` gives mean and variance of every feature under the exchange that `drawn` carries out.
    """
    from scipy import sparse  # pyright: ignore[reportMissingTypeStubs]

    matrix = cast(Any, sparse).csr_matrix((score, table.unit, table.offsets), shape=(table.features, table.units))
    moving = law.variance > 1e-12
    scale = np.where(moving, 1 / np.sqrt(np.where(moving, law.variance, 1.0)), 0.0)[:, None]
    reached = [np.zeros(len(members), np.int64) for members, _ in families]
    maxima: list[list[np.ndarray]] = [[] for _ in families]
    draws = 0
    for chunk in drawn:
        draws += chunk.shape[1]
        z = np.abs((np.asarray(matrix @ np.ascontiguousarray(chunk)) - law.mean[:, None]) * scale)
        for i, (members, observed) in enumerate(families):
            own = z[members]
            reached[i] += (own >= np.abs(observed)[:, None] - _SLACK).sum(axis=1)
            if len(members):
                maxima[i].append(own.max(axis=0))
    return [
        Permuted(
            (1 + b) / (1 + draws),
            max_t(np.abs(observed), np.concatenate(largest) if largest else np.zeros(0)),
        )
        for b, (_, observed), largest in zip(reached, families, maxima, strict=True)
    ]
