"""How much each node moves the targets, and how much of that runs through what is explained.

1. M: absolute weights of the edges into a node, divided by their sum   2. influence I = w(M + M² + …), w the weights
of the targets (probabilities); one sparse product per step of the longest path
3. replacement = I(tokens)/(I(tokens) + I(error)); error nodes are what no component holds
4. completeness = Σ_t (I_t + w_t)(1 − M[t, error])/Σ_t (I_t + w_t), over all nodes; one without in-edges counts as 1
Source: circuit-tracer (Ameisen et al. 2025). Units: shares. Refuses graphs with a cycle, along which influence would
not end. A score is None where nothing flows: replacement where neither tokens nor errors are reached, completeness
where there is no edge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Bool, Float64
from radiograph.numerics.graphs._edges import Edges


@dataclass(frozen=True)
class Scores:
    """Of one graph."""

    replacement: float | None
    completeness: float | None


def normalised(edges: Edges) -> Any:
    """M, sparse, a row for every target; rows of nodes without in-edges are empty."""
    from scipy import sparse  # pyright: ignore[reportMissingTypeStubs]

    matrix = edges.absolute()
    into = np.asarray(matrix.sum(1)).ravel()
    scale = np.divide(1.0, into, out=np.zeros_like(into), where=into > 0)
    return cast(Any, sparse).diags(scale) @ matrix


def influence(edges: Edges, weights: Float64[np.ndarray, " node"]) -> Float64[np.ndarray, " node"]:
    """I of every node; the targets' own weights are not in it.

    Raises:
        UserError: the graph has a cycle.
    """
    matrix = normalised(edges)
    total, step = np.zeros(edges.n), np.asarray(weights, np.float64)
    for _ in range(edges.n + 1):
        step = step @ matrix
        if not step.any():
            return total
        total += step
    raise UserError("the graph has a cycle, along which influence does not end", code="cyclic_graph")


def scores(
    edges: Edges,
    weights: Float64[np.ndarray, " node"],
    tokens: Bool[np.ndarray, " node"],
    errors: Bool[np.ndarray, " node"],
) -> Scores:
    """Replacement and completeness of a graph."""
    found = influence(edges, weights)
    of_tokens, of_errors = float(found[tokens].sum()), float(found[errors].sum())
    through = found + weights
    whole = float(through.sum())
    lost = np.asarray(normalised(edges)[:, np.flatnonzero(errors)].sum(1)).ravel()
    return Scores(
        replacement=of_tokens / (of_tokens + of_errors) if of_tokens + of_errors > 0 else None,
        completeness=float((through * (1 - lost)).sum()) / whole if whole > 0 and len(edges) else None,
    )
