"""A graph that another program wrote: read, scored, drawn; nodes can be looked at and compared, not intervened on."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from radiograph.core import Context, FormatError
from radiograph.evidence.graphs import AttributionGraph, GraphPrompt, NodeRecord, ScoresRecord, read_graph
from radiograph.methods.graph._circuits.document import masks_of
from radiograph.methods.graph._circuits.picture import picture_of
from radiograph.numerics.graphs import Edges, Roles, influence, prune, scores

KINDS = {"embedding": "token", "logit": "logit"}


def imported(reference: str, ctx: Context, node_share: float, edge_share: float) -> GraphPrompt:
    """Read, judge, write our form of it.

    Raises:
        FormatError: not a graph, with the first mistakes by pointer.
    """
    graph = read_document(ctx, reference, "graph")
    kinds, weights, edges = arrays(graph)
    tokens, errors, inner = masks_of(kinds)
    flow = influence(edges, weights)
    kept = prune(
        edges, weights, Roles(tokens | (kinds == "logit"), inner), node_share=node_share, edge_share=edge_share
    )
    before, after = scores(edges, weights, tokens, errors), scores(edges.where(kept.edges), weights, tokens, errors)
    facts = graph.radiograph.model_copy(
        update={"replacement_unpruned": before.replacement, "completeness_unpruned": before.completeness}
    )
    own = graph.model_copy(update={"radiograph": facts})
    ctx.output.json("graph.json", own)
    table: dict[str, Any] = {
        "node": [node.node_id for node in graph.nodes],
        "kind": kinds.tolist(),
        "weight": weights,
        "influence": flow,
        "kept": kept.nodes,
    }
    ctx.output.table("nodes", table)
    meta = graph.metadata
    return GraphPrompt(
        model=str(meta["scan"]),
        prompt=str(meta["prompt"]),
        prompt_tokens=tuple(meta["prompt_tokens"]),
        facts=facts,
        unpruned=_record(len(graph.nodes), len(edges), before),
        pruned=_record(int(kept.nodes.sum()), int(kept.edges.sum()), after),
        node_share=node_share,
        edge_share=edge_share,
        dropped_nodes=int((~kept.nodes).sum()),
        dropped_edges=int((~kept.edges).sum()),
        picture=picture_of(graph),
        notes=(*facts.notes, f"read by radiograph {version('radiograph')}; nothing was measured here"),
    )


def imported_problems(folder: Path, found: GraphPrompt) -> list[str]:
    """What of an imported graph does not follow from its document."""
    import polars as pl

    graph = read_graph(json.loads((folder / "graph.json").read_bytes()), "graph.json")
    kinds, weights, edges = arrays(graph)
    tokens, errors, inner = masks_of(kinds)
    roles = Roles(tokens | (kinds == "logit"), inner)
    kept = prune(edges, weights, roles, node_share=found.node_share, edge_share=found.edge_share)
    table = pl.read_parquet(folder / "tables" / "nodes.parquet")
    problems: list[str] = []
    if not np.allclose(influence(edges, weights), table["influence"].to_numpy(), atol=1e-9):
        problems.append("the influence of nodes is not what their edges give")
    if (kept.nodes != table["kept"].to_numpy()).any():
        problems.append("pruning keeps other nodes")
    for name, stored, own, part in (
        ("unpruned", found.unpruned, np.ones(len(graph.nodes), bool), edges),
        ("pruned", found.pruned, kept.nodes, edges.where(kept.edges)),
    ):
        if stored != _record(int(own.sum()), len(part), scores(part, weights, tokens, errors)):
            problems.append(f"sizes and scores of the {name} graph do not follow from its edges")
    return problems


def read_document(ctx: Context, reference: str, role: str) -> AttributionGraph:
    """A graph from a file.

    Raises:
        FormatError: no JSON, too large, or not a graph.
    """
    with ctx.opened(reference, role) as file:
        data = file.read(ctx.limits["json-bytes"])
        try:
            found = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise FormatError(f"{file.name} is not JSON", got=str(error)[:200], code="bad_graph") from error
        return read_graph(found, file.name)


def arrays(graph: AttributionGraph) -> tuple[np.ndarray, np.ndarray, Edges]:
    """Kinds of nodes, weights of targets, edges."""
    kinds = np.array([kind_of(node) for node in graph.nodes])
    given = np.array([node.token_prob or 0.0 for node in graph.nodes]) * (kinds == "logit")
    ends = kinds == "logit"
    # Files that say no probability weigh their targets alike.
    weights = given if given.sum() > 0 else ends / max(1, int(ends.sum()))
    place = {node.node_id: number for number, node in enumerate(graph.nodes)}
    edges = Edges(
        np.array([place[link.source] for link in graph.links], np.int64),
        np.array([place[link.target] for link in graph.links], np.int64),
        np.array([link.weight for link in graph.links], np.float64),
        len(graph.nodes),
    )
    return kinds, weights, edges


def kind_of(node: NodeRecord) -> str:
    """Token, logit, delta (what nothing explains) or component, which any feature counts as."""
    if node.radiograph is not None:
        return node.radiograph.kind
    return "delta" if node.is_error else KINDS.get(node.feature_type, "component")


def _record(nodes: int, edges: int, found: Any) -> ScoresRecord:
    return ScoresRecord(nodes=nodes, edges=edges, replacement=found.replacement, completeness=found.completeness)
