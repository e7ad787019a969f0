"""What did these runs show of features, and how does it hang together?

1. read the results of finished, untouched runs: `inspect`, `intervene`, `steer contrast`, `match`, the labels that
   their cards show, `explain features`, and `explain score`, whose scores weigh the words that they are of
2. nodes: criterion, feature (of a model), site, model, dictionary, outcome, explanation
3. edges: `associates` (correlational) · `affects` (causal) · `coactivates`, `resembles` (structural) · `corresponds`
   (of a match) · `explains` · `part_of`. An edge `affects` lists the intervention rows that it rests on; a finding
   whose rows are not at hand gets none. From feature to feature it comes only of an outcome that is a feature
4. the graph as JSON (result.json), GraphML, Mermaid, and a page with a picture; the style of a line says its kind

Weights are the estimates of the runs, in their units; nothing is computed anew but what --similarity chooses among.
Refuses when: a run is not finished, was changed, or shows nothing of features (exit 3).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import Context, RunPath, UserError, nearest
from radiograph.evidence.features import GRADES
from radiograph.evidence.graph import EDGES, EdgeName, Graph, GraphRun
from radiograph.methods.graph import _draft

DEFAULTS = {"correlational": "confirmed", "causal": "effect"}


class Config(Base):
    """Which runs, and which edges."""

    run: tuple[RunPath, ...] = Field(min_length=1)
    """Runs of inspect, intervene, steer contrast, match, explain; repeatable."""
    edges: tuple[EdgeName, ...] = ()
    """Edges that are kept, by name; repeatable; by default all."""
    min_grade: tuple[str, ...] = ("confirmed", "effect")
    """Lowest grade of an edge, one of each kind of evidence; repeatable."""
    similarity: float = Field(default=0.9, ge=0, le=1)
    """Least co-activation φ or cosine of an edge between features."""


def run(config: Config, ctx: Context) -> Graph:
    """Read, connect, write."""
    from radiograph.reports import graphml, mermaid

    draft = _draft.Draft(_least(config.min_grade), config.similarity)
    runs: list[GraphRun] = []
    for reference in config.run:
        opened = _opened(reference, ctx, {one.name for one in runs})
        runs.append(opened.record)
        _reader(opened)(draft, opened)
    _draft.explained(draft)
    drawn = [edge for edge in draft.edges if edge.edge in (config.edges or EDGES)]
    touched = {end for edge in drawn for end in (edge.source, edge.target)}
    graph = Graph(
        runs=tuple(runs),
        nodes=tuple(node for _, node in sorted(draft.nodes.items()) if node.id in touched),
        edges=tuple(sorted(drawn, key=lambda edge: (EDGES.index(edge.edge), edge.source, edge.target, edge.run))),
        left_out=dict(sorted(draft.left_out.items())),
        notes=tuple(draft.notes),
    )
    document = graph.model_dump(mode="json")
    ctx.output.text("graph.graphml", graphml(document))
    ctx.output.text("graph.mmd", mermaid(document))
    return graph


def _least(given: tuple[str, ...]) -> dict[str, str]:
    """The lowest grade of each kind."""
    least = dict(DEFAULTS)
    for name in given:
        kind = next((kind for kind, grades in GRADES.items() if name in grades[1:]), None)
        if kind is None:
            known = [grade for grades in GRADES.values() for grade in grades[1:]]
            close = nearest(name, known)
            raise UserError(
                f"no such grade: {name!r}",
                where="--min-grade",
                expected=", ".join(known),
                fix=f"did you mean {', '.join(close)}?" if close else None,
                code="bad_value",
            )
        least[kind] = name
    return least


def _opened(reference: str, ctx: Context, taken: set[str]) -> _draft.Opened:
    """A run that is what it was when it ended.

    Raises:
        UserError: not finished, changed, or no run.
    """
    from radiograph.store import MANIFEST, Bundle

    path = ctx.path(reference, f"run{len(taken) + 1}")
    checked = ctx.service("verify")(path)
    if checked.status != "intact":
        raise UserError(
            f"{path.name} is {checked.status}",
            where=checked.problems[0].path if checked.problems else None,
            got=checked.problems[0].text if checked.problems else None,
            fix="run it again: a graph is drawn from runs that `radiograph verify` finds intact",
            code="not_intact",
        )
    bundle = Bundle(path)
    name, number = path.name, 2
    while name in taken:
        name, number = f"{path.name}-{number}", number + 1
    record = GraphRun(name=name, verb=bundle.manifest.verb, seal=_sha256(path / MANIFEST))
    weights = next((given.tensors_sha256 for given in bundle.manifest.inputs if given.role == "model"), None)
    return _draft.Opened(path, record, bundle.result, ctx, weights)


def _sha256(path: Path) -> str:
    from radiograph.store import file_sha256

    return file_sha256(path)


def _reader(opened: _draft.Opened) -> _draft.Reader:
    schema = str(opened.result.get("schema", "")).rpartition("/")[0]
    if schema not in _draft.READERS:
        raise UserError(
            f"{opened.path.name} shows nothing of features",
            expected="a run of inspect, intervene, steer contrast, match or explain",
            got=f"{opened.record.verb} ({schema or 'no schema'})",
            code="no_features",
        )
    return _draft.READERS[schema]


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """Do the files in other languages say what the result says? Reading it checks that every edge has its evidence."""
    from radiograph.reports import graphml, mermaid

    document = Graph.read(result).model_dump(mode="json")
    made: dict[Literal["graph.graphml", "graph.mmd"], str] = {
        "graph.graphml": graphml(document),
        "graph.mmd": mermaid(document),
    }
    return [
        f"{name} is not the graph of the result"
        for name, text in made.items()
        if (folder / name).read_text("utf-8") != text
    ]
