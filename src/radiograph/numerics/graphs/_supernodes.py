"""Nodes that hang in a graph in the same way, as groups, each beside what chance gives.

1. profile of a node: its signed edge weights to every node, in and out, one vector   2. average linkage on 1 − cosine,
cut where the mean cosine falls below `cut`; nodes at one position only, unless across   3. groups of two and more
4. chance: among edges of one pair of weights (the matrices that they join) sources change places, and the search is
repeated; `chance` of a group is the mean over shuffles of the best inner cosine of a group at least as large (0 where
there is none), p = (1 + #{shuffles with one as good})/(1 + shuffles)
5. groups that were made elsewhere (`given_groups`) are not searched for: chance is the cosine of the same members
Nodes without edges, and nodes that may not be grouped (tokens, targets, errors), stand alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from radiograph.core.shapes import Bool, Float64, Int64
from radiograph.numerics.graphs._edges import Edges

SHUFFLES = 20


@dataclass(frozen=True)
class Group:
    """Alike nodes."""

    members: tuple[int, ...]
    cosine: float
    """Mean over pairs of members."""
    chance: float
    p: float


@dataclass(frozen=True, eq=False)
class Profiles:
    """What decides which nodes may be grouped and which edges may change places."""

    position: Int64[np.ndarray, " node"]
    weight: Int64[np.ndarray, " node"]
    """Number of the matrix that a node belongs to."""
    may: Bool[np.ndarray, " node"]


def profile_groups(
    edges: Edges,
    profiles: Profiles,
    rng: np.random.Generator,
    *,
    cut: float = 0.5,
    across: bool = False,
    shuffles: int = SHUFFLES,
) -> list[Group]:
    """Groups, largest first."""
    found = _found(edges, profiles, cut, across)
    if not found:
        return []
    pair = _pairs(edges, profiles.weight)
    null = [_found(_shuffled(edges, pair, rng), profiles, cut, across) for _ in range(shuffles)]
    groups: list[Group] = []
    for members, cosine in sorted(found, key=lambda one: (-len(one[0]), -one[1], one[0])):
        best = [max((c for others, c in draw if len(others) >= len(members)), default=0.0) for draw in null]
        reached = sum(b >= cosine - 1e-12 for b in best)
        groups.append(Group(members, cosine, float(np.mean(best)) if best else 0.0, (1 + reached) / (1 + shuffles)))
    return groups


def given_groups(
    edges: Edges,
    weight: Int64[np.ndarray, " node"],
    groups: Sequence[tuple[int, ...]],
    rng: np.random.Generator,
    *,
    shuffles: int = SHUFFLES,
) -> list[Group]:
    """Groups of two and more that were made without a look at edges, beside what shuffled edges give their members."""
    if not groups:
        return []
    pair = _pairs(edges, weight)
    own = inner_cosines(edges, groups)
    null = np.array([inner_cosines(_shuffled(edges, pair, rng), groups) for _ in range(shuffles)])
    reached = (null >= own - 1e-12).sum(axis=0)
    return [
        Group(members, float(own[n]), float(null[:, n].mean()), float((1 + reached[n]) / (1 + shuffles)))
        for n, members in enumerate(groups)
    ]


def inner_cosines(edges: Edges, groups: Sequence[tuple[int, ...]]) -> Float64[np.ndarray, " group"]:
    """Mean over pairs of members of the cosine of their profiles; a member without edges is like none."""
    both, norm = _profiles(edges)
    found = np.zeros(len(groups))
    for n, members in enumerate(groups):
        nodes = np.array(members)
        scale = np.divide(1.0, norm[nodes], out=np.zeros(len(nodes)), where=norm[nodes] > 0)
        total = np.asarray(both[nodes].T @ scale).ravel()
        found[n] = (total @ total - (scale > 0).sum()) / (len(nodes) * (len(nodes) - 1))
    return np.clip(found, -1.0, 1.0)


def _pairs(edges: Edges, weight: Int64[np.ndarray, " node"]) -> Int64[np.ndarray, " edge"]:
    """Which two matrices each edge joins."""
    return weight[edges.source] * (int(weight.max()) + 1) + weight[edges.target]


def _profiles(edges: Edges) -> tuple[Any, Float64[np.ndarray, " node"]]:
    """Signed edges of every node, in and out, as a sparse row; and their norms."""
    from scipy import sparse  # pyright: ignore[reportMissingTypeStubs]

    matrices = cast(Any, sparse)
    rows = np.concatenate([edges.source, edges.target])
    columns = np.concatenate([edges.target, edges.source + edges.n])
    both = matrices.csr_matrix(
        (np.concatenate([edges.weight, edges.weight]), (rows, columns)), shape=(edges.n, 2 * edges.n)
    )
    return both, np.sqrt(np.asarray(both.multiply(both).sum(1)).ravel())


def _shuffled(edges: Edges, pair: Int64[np.ndarray, " edge"], rng: np.random.Generator) -> Edges:
    """Sources change places among edges of one pair of matrices."""
    by_pair = np.argsort(pair, kind="stable")
    drawn = np.lexsort((rng.random(len(pair)), pair))
    source = np.empty_like(edges.source)
    source[by_pair] = edges.source[drawn]
    return Edges(source, edges.target, edges.weight, edges.n)


def _found(edges: Edges, profiles: Profiles, cut: float, across: bool) -> list[tuple[tuple[int, ...], float]]:
    """Members and mean inner cosine of every group."""
    from scipy import sparse  # pyright: ignore[reportMissingTypeStubs]
    from scipy.cluster import hierarchy  # pyright: ignore[reportMissingTypeStubs]

    trees, matrices = cast(Any, hierarchy), cast(Any, sparse)
    both, norm = _profiles(edges)
    used = profiles.may & (norm > 0)
    groups: list[tuple[tuple[int, ...], float]] = []
    for place in [None] if across else np.unique(profiles.position[used]).tolist():
        nodes = np.flatnonzero(used if place is None else used & (profiles.position == place))
        if len(nodes) < 2:
            continue
        unit = matrices.diags(1 / norm[nodes]) @ both[nodes]
        cosine: Float64[np.ndarray, "a b"] = np.clip((unit @ unit.T).toarray(), -1.0, 1.0)
        np.fill_diagonal(cosine, 1.0)
        upper = np.triu_indices(len(nodes), 1)
        label: Int64[np.ndarray, " node"] = trees.fcluster(
            trees.linkage(1 - cosine[upper], "average"), 1 - cut, "distance"
        )
        for one in np.unique(label).tolist():
            members = np.flatnonzero(label == one)
            if len(members) > 1:
                inner = cosine[np.ix_(members, members)]
                mean = float((inner.sum() - len(members)) / (len(members) * (len(members) - 1)))
                groups.append((tuple(int(node) for node in nodes[members]), mean))
    return groups
