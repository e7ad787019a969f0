"""An evidence graph in the languages of others: GraphML for graph programs, Mermaid for Markdown.

From the document alone. The line style says the kind: dotted correlational, thick causal, thin structural.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from radiograph.core import visible

Document = Mapping[str, Any]
MOST = 500
"""Edges that a Mermaid diagram holds; a browser draws no more."""
_ARROW = {"correlational": "-.->", "causal": "==>", "structural": "---"}
_SHAPE = {
    "criterion": ('{{"', '"}}'),
    "feature": ('["', '"]'),
    "outcome": ('(["', '"])'),
    "explanation": ('>"', '"]'),
}
_TYPES = {bool: "boolean", int: "long", float: "double", str: "string"}
_EDGE_KEYS = ("edge", "kind", "weight", "statistic", "low", "high", "n", "p", "q", "grade", "codes", "rows", "run")
_SPECIAL = re.compile(r'[#"<>&`;\[\]{}()|\\]')


def graphml(document: Document) -> str:
    """XML as yEd, Gephi and NetworkX read it; characters that XML cannot hold are spelled out."""
    nodes = [{"kind": n["kind"], "label": n["label"], **n["attributes"]} for n in document["nodes"]]
    edges = [_edge(edge) for edge in document["edges"]]
    keys = {"node": _keys(nodes), "edge": _keys(edges)}
    out = ['<?xml version="1.0" encoding="UTF-8"?>', '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">']
    for domain, known in keys.items():
        for name, kind in known.items():
            out.append(
                f' <key id="{domain}-{name}" for="{domain}" attr.name={_quoted(name)} attr.type="{_TYPES[kind]}"/>'
            )
    out.append(' <graph id="evidence" edgedefault="directed">')
    for node, values in zip(document["nodes"], nodes, strict=True):
        out += [f"  <node id={_quoted(node['id'])}>", *_data("node", values), "  </node>"]
    for number, (edge, values) in enumerate(zip(document["edges"], edges, strict=True)):
        ends = f"source={_quoted(edge['source'])} target={_quoted(edge['target'])}"
        out += [f'  <edge id="e{number}" {ends}>', *_data("edge", values), "  </edge>"]
    return "\n".join([*out, " </graph>", "</graphml>", ""])


def mermaid(document: Document) -> str:
    """A flowchart; models, sites and dictionaries are left to the other formats."""
    shown = {n["id"]: f"n{i}" for i, n in enumerate(document["nodes"]) if n["kind"] in _SHAPE}
    out = ["flowchart LR"]
    for node in document["nodes"]:
        if node["id"] in shown:
            before, after = _SHAPE[node["kind"]]
            out.append(f"  {shown[node['id']]}{before}{_plain(node['label'])}{after}")
    drawn = [e for e in document["edges"] if e["source"] in shown and e["target"] in shown]
    for edge in drawn[:MOST]:
        weight = "" if edge["weight"] is None else f" {edge['weight']:.2f}"
        arrow = "<-->" if edge["edge"] == "corresponds" else _ARROW[edge["kind"]]
        out.append(f'  {shown[edge["source"]]} {arrow}|"{edge["edge"]}{weight}"| {shown[edge["target"]]}')
    if len(drawn) > MOST:
        out.append(f"  %% {len(drawn) - MOST} more edges stand in result.json")
    return "\n".join([*out, ""])


def _edge(edge: Mapping[str, Any]) -> dict[str, Any]:
    low, high = edge["interval"] or (None, None)
    flat = {**edge, "low": low, "high": high, "codes": ",".join(edge["codes"]) or None}
    flat["rows"] = None if edge["rows"] is None else json.dumps(edge["rows"], sort_keys=True)
    return {name: flat[name] for name in _EDGE_KEYS}


def _keys(items: list[dict[str, Any]]) -> dict[str, type]:
    """Every attribute with its type; one of several types is text."""
    known: dict[str, type] = {}
    for item in items:
        for name, value in item.items():
            if value is not None:
                known[name] = type(value) if known.get(name, type(value)) is type(value) else str
    return known


def _data(domain: str, values: dict[str, Any]) -> list[str]:
    return [
        f'   <data key="{domain}-{name}">{escape(_text(value))}</data>'
        for name, value in values.items()
        if value is not None
    ]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else visible(str(value))


def _quoted(text: str) -> str:
    return quoteattr(visible(text))


def _plain(text: str) -> str:
    """Text that Mermaid shows and does not read: its own marks as numbered entities."""
    return _SPECIAL.sub(lambda found: f"#{ord(found[0])};", visible(text, 80).replace("\n", " "))
