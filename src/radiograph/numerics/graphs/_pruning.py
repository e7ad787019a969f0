"""The part of a graph that carries most of the influence.

1. nodes: the smallest set with a share of all influence; equal ones stay together, so that names decide nothing;
   tokens and targets are kept   2. edges between kept nodes, scored M[t, s]·(I_t + w_t) of the kept graph: the smallest
   set with its share   3. again and again, nodes that lost their last out-edge, or (components) their last in-edge
A share of 1 keeps everything in its step. `cumulative` gives each node the share of influence at which it enters, which
is what viewers of such graphs filter by. Source: circuit-tracer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from radiograph.core.shapes import Bool, Float64
from radiograph.numerics.graphs._edges import Edges
from radiograph.numerics.graphs._influence import influence


@dataclass(frozen=True, eq=False)
class Roles:
    """What nodes are. `kept` ones are never pruned; `inner` ones need an edge in and an edge out, others one out."""

    kept: Bool[np.ndarray, " node"]
    inner: Bool[np.ndarray, " node"]


@dataclass(frozen=True, eq=False)
class Pruned:
    """Which nodes and edges stay."""

    nodes: Bool[np.ndarray, " node"]
    edges: Bool[np.ndarray, " edge"]


def prune(
    edges: Edges, weights: Float64[np.ndarray, " node"], roles: Roles, *, node_share: float, edge_share: float
) -> Pruned:
    """Prune nodes, then edges, then what hangs loose."""
    nodes = smallest(influence(edges, weights), node_share) | roles.kept
    alive = nodes[edges.source] & nodes[edges.target]
    between = edges.where(alive)
    kept = np.zeros(len(edges), bool)
    if edge_share < 1:
        into = np.asarray(between.absolute().sum(1)).ravel()[between.target]
        share = np.divide(np.abs(between.weight), into, out=np.zeros_like(into), where=into > 0)
        through = influence(between, weights) + weights
        kept[np.flatnonzero(alive)[smallest(share * through[between.target], edge_share)]] = True
    else:
        kept[alive] = True
    if node_share >= 1 and edge_share >= 1:
        return Pruned(nodes, kept)
    while True:
        into = np.bincount(edges.target[kept], minlength=edges.n) > 0
        out = np.bincount(edges.source[kept], minlength=edges.n) > 0
        still = nodes & (roles.kept | (out & (into | ~roles.inner)))
        kept &= still[edges.source] & still[edges.target]
        if (still == nodes).all():
            return Pruned(nodes, kept)
        nodes = still


def smallest(values: Float64[np.ndarray, " item"], share: float) -> Bool[np.ndarray, " item"]:
    """The fewest of the largest values that hold a share of their sum, with all that equal the least of them."""
    if share >= 1 or not len(values) or values.sum() <= 0:
        return np.ones(len(values), bool)
    ordered = np.sort(values)[::-1]
    heaped: Float64[np.ndarray, " item"] = np.cumsum(ordered)
    place = min(int(np.searchsorted(heaped, share * float(heaped[-1]))), len(values) - 1)
    return values >= ordered[place]


def cumulative(values: Float64[np.ndarray, " node"]) -> Float64[np.ndarray, " node"]:
    """Of every node, the share of all influence held by it and those above it; equal ones have the same."""
    if not values.sum() > 0:
        return np.ones(len(values))
    order = np.argsort(-values, kind="stable")
    heaped = np.cumsum(values[order]) / values.sum()
    last = np.searchsorted(-values[order], -values[order], side="right") - 1
    found = np.empty(len(values))
    found[order] = heaped[last]
    return np.minimum(found, 1.0)
