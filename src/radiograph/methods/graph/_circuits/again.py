"""Scores and pruning of a stored graph once more, and whether `graph.json` says the same. Needs no torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from radiograph.core import RadiographError
from radiograph.evidence.graphs import (
    AdversarialRecord,
    AttributionGraph,
    GraphOptimise,
    RegimeRecord,
    Regimes,
    ScoresRecord,
    grade,
    read_graph,
)
from radiograph.methods.graph._circuits.document import masks_of
from radiograph.numerics.graphs import Edges, Roles, influence, inner_cosines, prune, scores

TOLERANCE = 1e-9


def graph_problems(
    folder: Path, unpruned: ScoresRecord, pruned: ScoresRecord, *, node_share: float, edge_share: float
) -> list[str]:
    """What does not follow from the tables of a run."""
    import polars as pl

    nodes = pl.read_parquet(folder / "tables/nodes.parquet")
    edges = pl.read_parquet(folder / "tables/edges.parquet")
    whole = Edges(
        edges["source"].to_numpy().astype(np.int64),
        edges["target"].to_numpy().astype(np.int64),
        edges["signed"].to_numpy().astype(np.float64),
        len(nodes),
    )
    kinds, weights = nodes["kind"].to_numpy(), nodes["weight"].to_numpy()
    tokens, errors, inner = masks_of(kinds)
    kept = prune(
        whole, weights, Roles(tokens | (kinds == "logit"), inner), node_share=node_share, edge_share=edge_share
    )
    problems: list[str] = []
    if not np.allclose(influence(whole, weights), nodes["influence"].to_numpy(), atol=TOLERANCE):
        problems.append("the influence of nodes is not what their edges give")
    if (kept.nodes != nodes["kept"].to_numpy()).any() or (kept.edges != edges["kept"].to_numpy()).any():
        problems.append("pruning keeps other nodes or edges")
    value = nodes["value"].to_numpy()
    if (np.sign(value)[whole.target] * whole.weight != edges["abs"].to_numpy()).any():
        problems.append("abs edges are not sign(target) × signed")
    for name, record, part in (("unpruned", unpruned, whole), ("pruned", pruned, whole.where(kept.edges))):
        found = scores(part, weights, tokens, errors)
        for key in ("replacement", "completeness"):
            own, stored = getattr(found, key), getattr(record, key)
            if (own is None) != (stored is None) or (own is not None and abs(own - stored) > TOLERANCE):
                problems.append(f"{name} {key} is {own}, not {stored}")
    try:
        document = read_graph(json.loads((folder / "graph.json").read_bytes()), "graph.json")
    except RadiographError as error:
        return [*problems, str(error)]
    problems += _group_problems(document, nodes["node"].to_list(), whole.where(kept.edges))
    return problems + _document_problems(document, nodes, kept.nodes, kept.edges)


def _group_problems(document: AttributionGraph, names: Sequence[str], kept: Edges) -> list[str]:
    """Are members of groups as alike as it says?"""
    place = {name: number for number, name in enumerate(names)}
    own = {n.node_id: place.get(n.radiograph.address, -1) for n in document.nodes if n.radiograph is not None}
    groups = document.radiograph.supernodes
    members = [tuple(own.get(member, -1) for member in group.members) for group in groups]
    if any(min(group) < 0 for group in members):
        return ["a supernode has members that are no nodes"]
    cosines = inner_cosines(kept, members).tolist()
    return [
        f"the members of supernode {group.name!r} have a mean cosine of {cosine:.6g}, not {group.cosine}"
        for group, cosine in zip(groups, cosines, strict=True)
        if group.cosine is not None and abs(cosine - group.cosine) > 1e-6
    ]


def _document_problems(document: AttributionGraph, nodes: Any, kept: np.ndarray, edges: np.ndarray) -> list[str]:
    shown = {node.radiograph.address for node in document.nodes if node.radiograph is not None}
    if shown != set(nodes.filter(kept)["node"].to_list()):
        return ["graph.json shows other nodes than pruning keeps"]
    if len(document.links) != int(edges.sum()):
        return ["graph.json shows other links than pruning keeps"]
    return []


def search_problems(folder: Path, found: GraphOptimise) -> list[str]:
    """What does not follow from the selections and numbers of a search."""
    import polars as pl

    selected = pl.read_parquet(folder / "tables/selected.parquet")
    problems: list[str] = []
    for row in found.rows:
        own = selected.filter(pl.col("sparsity") == row.sparsity)
        if len(own) != row.selected:
            problems.append(f"sparsity {row.sparsity}: {len(own)} nodes are stored, not {row.selected}")
        if found.max_loss is not None:
            holds = row.loss["adversarial"] - found.target_loss <= found.max_loss
        else:
            holds = row.lowest >= found.keep * found.label.p
        if holds != row.holds:
            problems.append(f"sparsity {row.sparsity}: it {'holds' if holds else 'does not hold'}")
    if found.controls:
        better = sum(one >= found.rows[0].p["importance"] for one in found.controls)
        p = (1 + better) / (1 + len(found.controls))
        if found.p_value is None or abs(p - found.p_value) > TOLERANCE:
            problems.append(f"p against controls is {p}, not {found.p_value}")
    return problems


def regime_problems(folder: Path, found: Regimes) -> list[str]:
    """What does not follow from the numbers of an intervention and its table of nodes."""
    import polars as pl

    def kept(record: RegimeRecord) -> bool:
        if found.max_loss is not None:
            return record.loss - found.target_loss <= found.max_loss
        p = record.lowest if isinstance(record, AdversarialRecord) else record.p
        return p >= found.keep * found.target_p

    problems: list[str] = []
    word = grade(alone=kept(found.importance), random=kept(found.stochastic), attacked=kept(found.adversarial))
    if word != found.grade:
        problems.append(f"the numbers say {word}, not {found.grade}")
    if found.ablated is not None and found.contributes is kept(found.ablated):
        problems.append("the word on the ablated nodes does not follow from their p")
    if found.controls is not None:
        better = sum(one >= found.importance.p for one in found.controls.p)
        if abs((1 + better) / (1 + found.controls.sets) - found.controls.p_value) > TOLERANCE:
            problems.append("p against controls does not follow from theirs")
    nodes = pl.read_parquet(folder / "tables/nodes.parquet")
    if len(nodes) != found.alive or int(nodes["selected"].sum()) != found.selected:
        problems.append("the table of nodes counts others")
    if (nodes.filter(pl.col("selected"))["attacked_mask"] != 1).any():
        problems.append("a selected node was attacked")
    return problems
