"""From a drawn graph to its document: pruning, ids that the public schema knows, supernodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from radiograph.core.components import Node, weight_order
from radiograph.evidence.graphs import (
    COMPONENT_TYPE,
    ERROR_TYPE,
    AttributionGraph,
    GraphFacts,
    GraphKind,
    LinkExtra,
    LinkRecord,
    LossRecord,
    NodeExtra,
    NodeRecord,
    ScoresRecord,
    SupernodeRecord,
    TopNode,
    cantor,
)
from radiograph.numerics.graphs import (
    Edges,
    Group,
    Profiles,
    Pruned,
    Roles,
    Scores,
    cumulative,
    given_groups,
    influence,
    profile_groups,
    prune,
    scores,
)

if TYPE_CHECKING:
    from radiograph.decompose.circuits import Drawn
    from radiograph.methods.graph._circuits.opened import Case

TOP = 20


@dataclass(frozen=True, eq=False)
class Made:
    """A graph with what pruning left of it."""

    drawn: Drawn
    pruned: Pruned
    before: Scores
    after: Scores
    influence: np.ndarray
    share: np.ndarray
    """Of all influence at which a node enters."""

    @property
    def kept(self) -> Edges:
        """Edges after pruning."""
        return self.drawn.edges.where(self.pruned.edges)

    def records(self) -> tuple[ScoresRecord, ScoresRecord]:
        """Sizes and scores before and after."""
        return (
            ScoresRecord(
                nodes=len(self.drawn.nodes),
                edges=len(self.drawn.edges),
                replacement=self.before.replacement,
                completeness=self.before.completeness,
            ),
            ScoresRecord(
                nodes=int(self.pruned.nodes.sum()),
                edges=int(self.pruned.edges.sum()),
                replacement=self.after.replacement,
                completeness=self.after.completeness,
            ),
        )


def made(drawn: Drawn, *, node_share: float, edge_share: float) -> Made:
    """Scores and pruning of a graph."""
    kinds = np.array([node.kind for node in drawn.nodes])
    return judged(drawn, kinds, node_share=node_share, edge_share=edge_share)


def judged(drawn: Drawn, kinds: np.ndarray, *, node_share: float, edge_share: float) -> Made:
    """The same, where kinds are known."""
    tokens, errors, inner = masks_of(kinds)
    kept = tokens | (kinds == "logit")
    found = prune(drawn.edges, drawn.weights, Roles(kept, inner), node_share=node_share, edge_share=edge_share)
    flow = influence(drawn.edges, drawn.weights)
    before = scores(drawn.edges, drawn.weights, tokens, errors)
    after = scores(drawn.edges.where(found.edges), drawn.weights, tokens, errors)
    return Made(drawn, found, before, after, flow, cumulative(flow))


def masks_of(kinds: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which nodes are tokens (or positions), which errors, which components."""
    return np.isin(kinds, ("token", "position")), np.isin(kinds, ("delta", "rest")), kinds == "component"


class Names:
    """Ids of nodes under the public schema."""

    def __init__(self, sizes: Mapping[str, int], layers: int, tokens: Sequence[int]) -> None:
        self.layers, self.tokens = layers, tokens
        self.block: dict[str, int] = {}
        self.offset: dict[str, int] = {}
        self.number: dict[str, int] = {}
        taken: dict[int, int] = {}
        for weight, size in sizes.items():
            block = min(max(weight_order(weight)[0], 0), layers)
            self.block[weight], self.offset[weight] = block, taken.get(block, 0)
            self.number[weight] = sum(other == block for other in self.block.values()) - 1
            taken[block] = taken.get(block, 0) + size

    def record(self, node: Node) -> dict[str, Any]:
        """The public fields that say what a node is."""
        position = node.position
        match node.kind:
            case "component" | "delta" | "rest":
                assert node.weight is not None
                block = self.block[node.weight]
                if node.kind == "component":
                    index = self.offset[node.weight] + (node.index or 0)
                    number, kind, js = cantor(block, index), COMPONENT_TYPE, f"{block}_{index}-0"
                else:
                    index = -1 - 2 * self.number[node.weight] - (node.kind == "rest")
                    number, kind, js = index, ERROR_TYPE, f"{block}_{index}-{position}"
                return _public(f"{block}_{index}_{position}", number, str(block), position, kind, js)
            case "logit":
                layer = self.layers + 1
                token = node.index or 0
                return _public(
                    f"{layer}_{token}_{position}", token, str(layer), position, "logit", f"L_{token}-{position}"
                )
            case "token":
                token = self.tokens[position]
                return _public(f"E_{token}_{position}", position, "E", position, "embedding", f"E_{token}-{position}")
            case _:
                index = -1 if node.kind == "position" else -2
                return _public(f"E_{index}_{position}", index, "E", position, "embedding", f"E_{index}-{position}")


def _public(node_id: str, feature: int, layer: str, position: int, kind: str, js: str) -> dict[str, Any]:
    return {
        "node_id": node_id,
        "feature": feature,
        "layer": layer,
        "ctx_idx": position,
        "feature_type": kind,
        "jsNodeId": js,
    }


def document(
    case: Case,
    graph: Made,
    *,
    kind: GraphKind,
    loss: LossRecord | None,
    slug: str,
    version: str,
    shares: tuple[float, float],
    labels: Mapping[str, str],
    supernodes: Sequence[tuple[tuple[int, ...], SupernodeRecord]] = (),
    live: bool = False,
    non_adversarial: bool = False,
) -> AttributionGraph:
    """The pruned graph, as others read it."""
    drawn = graph.drawn
    names = Names(case.decomposition.sizes, case.model.n_layers, case.prompt.ids.tolist())
    keep = np.flatnonzero(graph.pruned.nodes)
    probabilities = case.prompt.logits.float().softmax(-1)
    nodes = [_node(case, names, graph, int(number), probabilities, labels) for number in keep]
    ids = {int(number): node.node_id for number, node in zip(keep, nodes, strict=True)}
    links = _links(graph, ids)
    groups = [
        record.model_copy(update={"members": tuple(ids[m] for m in members if m in ids)})
        for members, record in supernodes
    ]
    groups = [group for group in groups if len(group.members) > 1]
    before, after = graph.records()
    drawn_components = [str(node) for node in drawn.nodes if node.kind == "component"]
    return AttributionGraph(
        metadata=_metadata(case, graph, slug, version, shares),
        qParams={
            "pinnedIds": [],
            "supernodes": [[group.name, *group.members] for group in groups],
            "linkType": "both",
            "clickedId": "",
            "sg_pos": "",
        },
        nodes=tuple(nodes),
        links=tuple(links),
        radiograph=GraphFacts(
            kind=kind,
            loss=loss,
            target_sha256=case.target.sha256,
            decomposition_sha256=case.decomposition.sha256,
            alive=int(case.prompt.alive.sum()),
            selected=len(drawn_components),
            selection=None if kind == "natural" else tuple(drawn_components),
            shown=sum(drawn.nodes[int(number)].kind == "component" for number in keep),
            replacement=after.replacement,
            completeness=after.completeness,
            replacement_unpruned=before.replacement,
            completeness_unpruned=before.completeness,
            unexpanded=drawn.unexpanded,
            gradient="live" if live else "linearised",
            non_adversarial=non_adversarial,
            supernodes=tuple(groups),
        ),
    )


def _links(graph: Made, ids: Mapping[int, str]) -> list[LinkRecord]:
    """The edges that pruning keeps."""
    drawn, kept = graph.drawn, graph.pruned.edges
    sign = np.sign(drawn.value)
    return [
        LinkRecord(
            source=ids[s],
            target=ids[t],
            weight=w,
            radiograph=LinkExtra(kind="modulating" if m else "value", abs=float(sign[t] * w)),
        )
        for s, t, w, m in zip(
            drawn.edges.source[kept].tolist(),
            drawn.edges.target[kept].tolist(),
            drawn.edges.weight[kept].tolist(),
            drawn.modulating[kept].tolist(),
            strict=True,
        )
    ]


def _metadata(case: Case, graph: Made, slug: str, version: str, shares: tuple[float, float]) -> dict[str, Any]:
    """What viewers show of a graph, and what pruning dropped."""
    before, after = graph.records()
    return {
        "slug": slug,
        "scan": case.name,
        "schema_version": 1,
        "prompt": case.text,
        "prompt_tokens": list(case.tokens),
        "node_threshold": shares[0],
        "info": {"generator": {"name": "radiograph", "version": version}},
        "pruning_settings": {
            "node_threshold": shares[0],
            "edge_threshold": shares[1],
            "dropped_nodes": before.nodes - after.nodes,
            "dropped_edges": before.edges - after.edges,
        },
    }


def _node(
    case: Case, names: Names, graph: Made, number: int, probabilities: Any, labels: Mapping[str, str]
) -> NodeRecord:
    drawn, node = graph.drawn, graph.drawn.nodes[number]
    component = node.kind == "component"
    text = labels.get(str(node.component), "") if component else _clerp(case, node, probabilities)
    more: dict[str, Any] = {}
    if node.kind == "logit":
        more = {
            "token_prob": float(probabilities[node.position, node.index]),
            "is_target_logit": bool(drawn.weights[number] == drawn.weights.max()),
        }
    return NodeRecord(
        **names.record(node),
        clerp=text,
        influence=float(graph.share[number]),
        activation=float(drawn.value[number]) if component or node.kind == "logit" else None,
        **more,
        radiograph=NodeExtra(
            address=str(node),
            position=node.position,
            kind=node.kind,
            importance=float(drawn.importance[number]) if component else None,
            alive=bool(drawn.alive[number]) if component else None,
            influence=float(graph.influence[number]),
        ),
    )


def _clerp(case: Case, node: Node, probabilities: Any) -> str:
    match node.kind:
        case "token":
            return f'Token "{case.tokens[node.position]}"'
        case "logit":
            p = float(probabilities[node.position, node.index])
            return f'Output "{case.token(node.index or 0)}" (p={p:.3f})'
        case "delta":
            return f"what the components of {node.weight} leave out"
        case "rest":
            return f"components of {node.weight} that are no nodes"
        case kind:
            return kind


@dataclass(frozen=True, eq=False)
class Grouping:
    """How nodes are drawn as one, and what components are called."""

    how: Literal["none", "profile", "mdl"] = "none"
    across: bool = False
    cluster_of: Mapping[str, str] = field(default_factory=dict)
    """Of `mdl`: the group of each component that is in one."""
    by_hand: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Nodes by the name of a group; what stands there is in no other."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """By component."""


def groups(
    case: Case, graph: Made, seed: int, asked: Grouping
) -> tuple[list[tuple[tuple[int, ...], SupernodeRecord]], tuple[str, ...]]:
    """Supernodes of the pruned graph, those made by hand first; and what of these is not shown."""
    drawn = graph.drawn
    order = {weight: number for number, weight in enumerate(case.decomposition.weights)}
    weight = np.array([order.get(node.weight or "", len(order)) for node in drawn.nodes])
    free = graph.pruned.nodes & np.array([node.kind == "component" for node in drawn.nodes])
    place = {str(node): number for number, node in enumerate(drawn.nodes) if free[number]}
    named: list[tuple[str, tuple[int, ...]]] = []
    notes: list[str] = []
    for name, nodes in asked.by_hand.items():
        members = tuple(sorted(place[node] for node in nodes if node in place))
        if len(members) < len(nodes):
            notes.append(f"{name}: {len(nodes) - len(members)} of {len(nodes)} nodes are not shown after pruning")
        if len(members) > 1:
            named.append((name, members))
    for _, members in named:
        free[list(members)] = False
    rng = np.random.default_rng(seed)
    given = [members for _, members in named]
    if asked.how == "mdl":
        given += _clustered(drawn.nodes, free, asked)
    own = given_groups(graph.kept, weight, given, rng)
    hand, mdl = own[: len(named)], own[len(named) :]
    records = [_record(group, "hand", name) for group, (name, _) in zip(hand, named, strict=True)]
    records += [_record(group, "mdl", _name([drawn.nodes[m] for m in group.members], asked.labels)) for group in mdl]
    if asked.how == "profile":
        profiles = Profiles(np.array([node.position for node in drawn.nodes]), weight, free)
        for group in profile_groups(graph.kept, profiles, rng, across=asked.across):
            records.append(_record(group, "profile", _name([drawn.nodes[m] for m in group.members], asked.labels)))
    return records, tuple(notes)


def _record(group: Group, how: Literal["profile", "mdl", "hand"], name: str) -> tuple[tuple[int, ...], SupernodeRecord]:
    return group.members, SupernodeRecord(
        name=name, members=(), how=how, cosine=group.cosine, chance=group.chance, p=group.p
    )


def _clustered(nodes: Sequence[Node], free: np.ndarray, asked: Grouping) -> list[tuple[int, ...]]:
    """Nodes whose components are in one group, at one position unless across; the largest first."""
    found: dict[tuple[str, int], list[int]] = {}
    for number in np.flatnonzero(free).tolist():
        group = asked.cluster_of.get(str(nodes[number].component))
        if group is not None:
            found.setdefault((group, -1 if asked.across else nodes[number].position), []).append(number)
    return sorted((tuple(m) for m in found.values() if len(m) > 1), key=lambda m: (-len(m), m))


def _name(members: Sequence[Node], labels: Mapping[str, str]) -> str:
    """Member labels, else the weights that they are of."""
    texts = list(dict.fromkeys(text for node in members if (text := labels.get(str(node.component)))))
    if texts:
        return " / ".join(texts[:3])
    weights = list(dict.fromkeys(str(node.weight) for node in members))
    places = sorted({node.position for node in members})
    return f"{len(members)} of {', '.join(weights[:3])} at {', '.join(map(str, places[:3]))}"


def leading(graph: Made) -> tuple[TopNode, ...]:
    """Components with the most influence."""
    drawn = graph.drawn
    inner = np.array([node.kind == "component" for node in drawn.nodes])
    order = np.argsort(-np.where(inner, graph.influence, -1.0), kind="stable")[:TOP]
    return tuple(
        TopNode(
            address=str(drawn.nodes[n]),
            kind="component",
            influence=float(graph.influence[n]),
            activation=float(drawn.value[n]),
            importance=float(drawn.importance[n]),
        )
        for n in order
        if inner[n] and graph.influence[n] > 0
    )


def tables(graph: Made) -> dict[str, dict[str, Any]]:
    """The whole graph, before pruning: what its numbers follow from."""
    drawn = graph.drawn
    names = np.array([str(node) for node in drawn.nodes])
    return {
        "nodes": {
            "node": names.tolist(),
            "kind": [node.kind for node in drawn.nodes],
            "position": [node.position for node in drawn.nodes],
            "value": drawn.value.tolist(),
            "importance": drawn.importance.tolist(),
            "alive": drawn.alive.tolist(),
            "expanded": drawn.expanded.tolist(),
            "weight": drawn.weights.tolist(),
            "influence": graph.influence.tolist(),
            "kept": graph.pruned.nodes.tolist(),
        },
        "edges": {
            "source": drawn.edges.source.astype(np.int32),
            "target": drawn.edges.target.astype(np.int32),
            "signed": drawn.edges.weight,
            "abs": np.sign(drawn.value)[drawn.edges.target] * drawn.edges.weight,
            "modulating": drawn.modulating,
            "kept": graph.pruned.edges,
        },
    }
