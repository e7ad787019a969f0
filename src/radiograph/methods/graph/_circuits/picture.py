"""The part of a graph that a page can show: nodes with most influence, and their strongest edges.

Tokens and targets come first, then the rest by influence; of edges between shown nodes the strongest, counted by the
share of their target's incoming weight. What is left out is counted. Heights follow the forward pass.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence

from radiograph.core.components import weight_order
from radiograph.evidence.graphs import AttributionGraph, LinkRecord, NodeRecord, Picture, PictureEdge, PictureNode

NODES, EDGES, TARGETS = 36, 90, 4


def picture_of(graph: AttributionGraph, normalise: str = "target") -> Picture:
    """Choose what is drawn."""
    flow = {node.node_id: _flow(node) for node in graph.nodes}
    ends = sorted((n for n in graph.nodes if n.feature_type == "logit"), key=lambda n: -(n.token_prob or 0.0))[:TARGETS]
    touched = {link.source for link in graph.links}
    tokens = [n for n in graph.nodes if _kind(n) == "token" and n.node_id in touched]
    inner = [n for n in graph.nodes if n.feature_type != "logit" and _kind(n) not in ("token", "bias", "position")]
    inner.sort(key=lambda n: (-flow[n.node_id], n.node_id))
    shown = [*tokens, *inner[: max(0, NODES - len(tokens) - len(ends))], *ends]
    heights = _heights(shown)
    row = {name: number for number, name in enumerate(heights)}
    nodes = tuple(
        PictureNode(
            address=_address(node),
            kind=_kind(node),
            position=node.ctx_idx,
            row=row[_height(node)],
            text=node.clerp,
            influence=flow[node.node_id],
        )
        for node in shown
    )
    place = {node.node_id: number for number, node in enumerate(shown)}
    edges = _edges(graph.links, place, normalise, nodes)
    return Picture(
        nodes=nodes,
        edges=edges,
        rows=tuple(heights),
        left_out_nodes=len(graph.nodes) - len(shown),
        left_out_edges=len(graph.links) - len(edges),
    )


def _edges(
    links: Sequence[LinkRecord], place: Mapping[str, int], normalise: str, nodes: Sequence[PictureNode]
) -> tuple[PictureEdge, ...]:
    into: dict[str, float] = defaultdict(float)
    squares: dict[tuple[str, str], float] = defaultdict(float)
    for link in links:
        into[link.target] += abs(link.weight)
        squares[_key(link, normalise, nodes, place)] += link.weight**2
    between = [link for link in links if link.source in place and link.target in place]
    between.sort(key=lambda ln: (-abs(ln.weight) / (into[ln.target] or 1.0), ln.source, ln.target))
    sized: list[tuple[LinkRecord, float]] = []
    for link in between[:EDGES]:
        scale = 1.0
        if normalise != "none":
            scale = squares[_key(link, normalise, nodes, place)] ** 0.5 or 1.0
        sized.append((link, abs(link.weight) / scale))
    largest = max((size for _, size in sized), default=1.0) or 1.0
    return tuple(
        PictureEdge(
            source=place[link.source],
            target=place[link.target],
            weight=link.weight,
            size=size / largest,
            modulating=link.radiograph is not None and link.radiograph.kind == "modulating",
        )
        for link, size in sized
    )


def _key(link: LinkRecord, normalise: str, nodes: Sequence[PictureNode], place: Mapping[str, int]) -> tuple[str, str]:
    """Edges that are compared in width: of one kind, into one target or one matrix."""
    kind = "value" if link.radiograph is None else link.radiograph.kind
    return kind, link.target if normalise == "target" else _matrix(nodes, place, link.target)


def _matrix(nodes: Sequence[PictureNode], place: Mapping[str, int], node_id: str) -> str:
    """The weight of a target."""
    return nodes[place[node_id]].address.partition(":")[0] if node_id in place else ""


def _kind(node: NodeRecord) -> str:
    if node.radiograph is not None:
        return node.radiograph.kind
    if node.is_error:
        return "delta"
    return {"embedding": "token", "logit": "logit"}.get(node.feature_type, "component")


def _address(node: NodeRecord) -> str:
    return node.radiograph.address if node.radiograph is not None else node.node_id


def _flow(node: NodeRecord) -> float:
    """Influence; of a foreign graph what its file says, where more is earlier."""
    if node.radiograph is not None and node.radiograph.influence is not None:
        return node.radiograph.influence
    return 0.0 if node.influence is None else 1.0 - node.influence


def _height(node: NodeRecord) -> str:
    kind = _kind(node)
    if kind in ("token", "position", "bias"):
        return "tokens"
    if kind == "logit":
        return "logits"
    if node.radiograph is not None:
        return re.split(r"[:/]", node.radiograph.address)[0]
    return f"layer {node.layer}"


def _heights(shown: Sequence[NodeRecord]) -> list[str]:
    names = {_height(node) for node in shown}
    middle = names - {"tokens", "logits"}
    foreign = sorted((n for n in middle if n.startswith("layer ")), key=lambda n: (len(n), n))
    own = sorted((n for n in middle if not n.startswith("layer ")), key=weight_order)
    return ["tokens", *foreign, *own, "logits"]
