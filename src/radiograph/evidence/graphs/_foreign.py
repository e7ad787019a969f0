"""Reading attribution graphs that others wrote: circuit-tracer, Neuronpedia, and our own.

1. required: `metadata` {slug, scan, prompt_tokens, prompt}, `qParams`, `nodes`, `links`; every mistake is collected,
and the first five are named by JSON pointer, then a count   2. the index of a feature comes from `node_id`
(LAYER_INDEX_POS) and is checked against `feature`: the Cantor pair under `schema_version` 1, else also layer · 10^k +
index (older presets) or the index alone; where they disagree a note says so   3. older circuit-tracer files number
error nodes 0_LAYER_POS, which can be the id of a feature of block 0: `feature_type` tells them apart and the error node
becomes LAYER_-1_POS, unless a link touches the id, which then could mean either: refused, ids listed
Keys that we do not know are left out. Refuses: two nodes with one id, unknown nodes in links, weights that are not
finite.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from pydantic import ValidationError

from radiograph.core import FormatError, visible
from radiograph.evidence._record import check_schema
from radiograph.evidence.graphs._graph import ERROR_TYPE, AttributionGraph, GraphFacts, LinkRecord, NodeRecord, cantor

ATTRIBUTION_GRAPH: Final[Mapping[str, Any]] = {
    "type": "object",
    "required": ["metadata", "qParams", "nodes", "links"],
    "properties": {
        "metadata": {
            "type": "object",
            "required": ["slug", "scan", "prompt_tokens", "prompt"],
            "properties": {
                "slug": {"type": "string"},
                "scan": {"type": "string"},
                "prompt": {"type": "string"},
                "prompt_tokens": {"type": "array", "items": {"type": "string"}},
                "node_threshold": {"type": "number"},
                "info": {"type": "object"},
                "pruning_settings": {"type": "object"},
                "generation_settings": {"type": "object"},
            },
        },
        "qParams": {
            "type": "object",
            "properties": {
                "pinnedIds": {"type": "array", "items": {"type": "string"}},
                "supernodes": {"type": "array"},
                "linkType": {"type": "string"},
                "clickedId": {"type": "string"},
                "sg_pos": {"type": "string"},
            },
        },
        "nodes": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["node_id", "feature", "layer", "ctx_idx", "feature_type", "jsNodeId", "clerp"],
                "properties": {
                    "node_id": {"type": "string"},
                    "feature": {"type": ["integer", "null"]},
                    "layer": {"type": ["string", "integer"]},
                    "ctx_idx": {"type": "integer"},
                    "feature_type": {"type": "string"},
                    "jsNodeId": {"type": "string"},
                    "clerp": {"type": "string"},
                    "influence": {"type": ["number", "null"]},
                    "activation": {"type": ["number", "null"]},
                    "token_prob": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
                    "is_target_logit": {"type": ["boolean", "null"]},
                },
            },
        },
        "links": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["source", "target", "weight"],
                "properties": {
                    "source": {"type": "string"},
                    "target": {"type": "string"},
                    "weight": {"type": "number"},
                },
            },
        },
    },
}
"""What the public schema (Neuronpedia, version 1.0.0) demands, as JSON Schema."""

_SHOWN = 5
_ID = re.compile(r"(-?\d+)_(-?\d+)_(-?\d+)")
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}
_NODE_KEYS = (
    "feature",
    "feature_type",
    "jsNodeId",
    "clerp",
    "influence",
    "activation",
    "token_prob",
    "is_target_logit",
)
Problems = list[tuple[str, str]]


def read_graph(document: object, where: str) -> AttributionGraph:
    """A graph from JSON, ours or another's.

    Raises:
        FormatError: not such a graph; the first mistakes by JSON pointer. NewerSchema: a later version of ours.
    """
    if isinstance(document, dict) and "schema" in document:
        own = cast("dict[str, Any]", document)
        check_schema(own["schema"], AttributionGraph.SCHEMA, where)
        _raise(_plain_problems(own), where)
        return AttributionGraph.read(own, where)
    problems = _plain_problems(cast(Any, document))
    _raise(problems, where)
    plain = cast("dict[str, Any]", document)
    nodes, notes = _nodes(plain, where)
    links = tuple(LinkRecord(source=ln["source"], target=ln["target"], weight=ln["weight"]) for ln in plain["links"])
    facts = GraphFacts(kind="imported", shown=sum(_is_feature(node) for node in nodes), notes=tuple(notes))
    try:
        return AttributionGraph(
            metadata=plain["metadata"], qParams=plain["qParams"], nodes=tuple(nodes), links=links, radiograph=facts
        )
    except ValidationError as error:  # an error node's new name may be taken
        said = error.errors()[0]["msg"]
        raise FormatError(f"{visible(where)} is not an attribution graph", got=said, code="bad_graph") from error


def _plain_problems(document: Any) -> Problems:
    problems: Problems = []
    _walk(document, ATTRIBUTION_GRAPH, "", problems)
    if problems:
        return problems
    plain = cast("dict[str, Any]", document)
    ids: dict[str, list[int]] = defaultdict(list)
    for number, node in enumerate(plain["nodes"]):
        ids[node["node_id"]].append(number)
        problems += [
            (f"/nodes/{number}/{key}", f"not finite: {_said(node[key])}")
            for key in ("influence", "activation")
            if node.get(key) is not None and not _finite(node[key])
        ]
        if node.get("token_prob") is not None and not 0 <= node["token_prob"] <= 1:
            problems.append((f"/nodes/{number}/token_prob", f"no probability: {_said(node['token_prob'])}"))
    for name, places in ids.items():
        kinds = [plain["nodes"][place]["feature_type"] for place in places]
        if len(places) > 2 or (len(places) == 2 and sum("error" in kind for kind in kinds) != 1):
            problems += [(f"/nodes/{place}/node_id", f"{name!r} is also /nodes/{places[0]}") for place in places[1:]]
    for number, link in enumerate(plain["links"]):
        problems += [
            (f"/links/{number}/{end}", f"no node {link[end]!r}") for end in ("source", "target") if link[end] not in ids
        ]
        if not _finite(link["weight"]):
            problems.append((f"/links/{number}/weight", f"not finite: {_said(link['weight'])}"))
    return problems


def _finite(value: float) -> bool:
    """Whether it is a number that a float can be: JSON knows integers of any length."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _said(value: float) -> str:
    return str(value) if abs(value) < 2**63 or isinstance(value, float) else "an integer too large"


def _walk(value: Any, schema: Mapping[str, Any], pointer: str, problems: Problems) -> None:
    """The part of JSON Schema that is used above."""
    wanted = schema.get("type")
    if wanted is not None:
        names: Sequence[str] = [wanted] if isinstance(wanted, str) else wanted
        fits = isinstance(value, tuple(kind for name in names for kind in _TYPES[name])) and not (
            isinstance(value, bool) and "boolean" not in names
        )
        if not fits:
            problems.append((pointer or "/", f"{type(cast(object, value)).__name__}, not {' or '.join(names)}"))
            return
    if isinstance(value, dict):
        given = cast("dict[str, Any]", value)
        problems += [(f"{pointer}/{key}", "missing") for key in schema.get("required", ()) if key not in given]
        for key, inner in schema.get("properties", {}).items():
            if key in given:
                _walk(given[key], inner, f"{pointer}/{key}", problems)
    elif isinstance(value, list) and "items" in schema:
        for number, one in enumerate(cast("list[Any]", value)):
            _walk(one, schema["items"], f"{pointer}/{number}", problems)


def _raise(problems: Problems, where: str) -> None:
    if not problems:
        return
    shown = [f"{visible(pointer, 120)}: {visible(text, 120)}" for pointer, text in problems[:_SHOWN]]
    more = len(problems) - len(shown)
    raise FormatError(
        f"{visible(where)} is not an attribution graph",
        where="; ".join(shown) + (f"; and {more} more" if more > 0 else ""),
        expected="metadata {slug, scan, prompt_tokens, prompt}, qParams, nodes, links between them",
        code="bad_graph",
    )


def _nodes(plain: Mapping[str, Any], where: str) -> tuple[list[NodeRecord], list[str]]:
    count: dict[str, int] = defaultdict(int)
    for node in plain["nodes"]:
        count[node["node_id"]] += 1
    ambiguous = {name for name, n in count.items() if n > 1}
    touched = sorted({link[end] for link in plain["links"] for end in ("source", "target")} & ambiguous)
    if touched:
        raise FormatError(
            f"{visible(where)}: links name ids that are a feature's and an error node's at once",
            where=", ".join(visible(name, 60) for name in touched[:_SHOWN])
            + (f" and {len(touched) - _SHOWN} more" if len(touched) > _SHOWN else ""),
            expected="ids of one node each",
            fix="write the file anew with a circuit-tracer whose error nodes are LAYER_-1_POS",
            code="ambiguous_id",
        )
    version = plain["metadata"].get("schema_version")
    found: list[NodeRecord] = []
    wrong: list[str] = []
    for node in plain["nodes"]:
        name = str(node["node_id"])
        if name in ambiguous and "error" in node["feature_type"]:
            name = f"{node['layer']}_-1_{node['ctx_idx']}"
        given = {key: node[key] for key in _NODE_KEYS if key in node}
        record = NodeRecord(node_id=name, layer=str(node["layer"]), ctx_idx=node["ctx_idx"], **given)
        found.append(record)
        if _is_feature(record) and not _agrees(record, version):
            wrong.append(name)
    notes: list[str] = []
    if wrong:
        shown = ", ".join(visible(name, 40) for name in wrong[:_SHOWN])
        notes.append(
            f"{len(wrong)} features have a number that does not follow from their id, which is what counts: {shown}"
            + (" …" if len(wrong) > _SHOWN else "")
        )
    return found, notes


def _is_feature(node: NodeRecord) -> bool:
    return node.feature_type not in ("embedding", "logit") and not node.is_error and node.feature_type != ERROR_TYPE


def _agrees(node: NodeRecord, version: object) -> bool:
    match = _ID.fullmatch(node.node_id)
    if match is None or node.feature is None:
        return match is not None
    layer, index = int(match[1]), int(match[2])
    if node.feature == cantor(layer, index):
        return True
    if version == 1:
        return False
    digits = len(str(index))
    return node.feature == index or any(node.feature == layer * 10**k + index for k in range(digits, 10))
