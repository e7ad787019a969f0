"""`radiograph.graph/1`: what was shown of features, as nodes and edges that say which kind of evidence they are.

An edge of a kind needs the evidence of that kind: `affects` lists the intervention rows that it rests on, or there is
no such edge. Nothing else may list any.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final, Literal, Self, get_args

from pydantic import Field, model_validator

from radiograph.evidence._record import Record, Result

NodeKind = Literal["criterion", "feature", "site", "model", "dictionary", "outcome", "explanation"]
EdgeName = Literal["associates", "affects", "coactivates", "resembles", "corresponds", "explains", "part_of"]
EdgeKind = Literal["correlational", "causal", "structural"]
EDGES: Final[tuple[EdgeName, ...]] = get_args(EdgeName)
KIND: Final[dict[EdgeName, EdgeKind]] = {
    "associates": "correlational",
    "affects": "causal",
    "coactivates": "structural",
    "resembles": "structural",
    "explains": "correlational",
    "part_of": "structural",
}
"""What each edge is evidence of; `corresponds` is of the kind of its match."""


class GraphRun(Record):
    """A bundle that the graph was read from."""

    name: str
    verb: str
    seal: str
    """SHA-256 of its manifest."""


class GraphNode(Record):
    """One thing."""

    id: str
    kind: NodeKind
    label: str
    attributes: dict[str, str | float | int | bool | None] = Field(default_factory=dict)


class InterventionRows(Record):
    """The rows of interventions that an edge rests on."""

    table: str
    """Where they stand: a file of a run, or a file that was given to it."""
    sha256: str
    count: int = Field(ge=1)
    ranges: tuple[tuple[int, int], ...] = Field(min_length=1)
    """First and last number of each run of rows, in the order that readers of such files number them."""

    @classmethod
    def of(cls, table: str, sha256: str, rows: list[int]) -> InterventionRows:
        """From ascending row numbers."""
        ranges: list[tuple[int, int]] = []
        for row in rows:
            if ranges and row == ranges[-1][1] + 1:
                ranges[-1] = (ranges[-1][0], row)
            else:
                ranges.append((row, row))
        return cls(table=table, sha256=sha256, count=len(rows), ranges=tuple(ranges))

    @model_validator(mode="after")
    def _counted(self) -> Self:
        if any(last < first for first, last in self.ranges):
            raise ValueError("a range of rows falls")
        if sum(last - first + 1 for first, last in self.ranges) != self.count:
            raise ValueError("the ranges do not hold as many rows as are counted")
        return self


class GraphEdge(Record):
    """One claim about two things."""

    source: str
    target: str
    edge: EdgeName
    kind: EdgeKind
    weight: float | None = None
    """The estimate: AUROC, effect, similarity, cosine, φ."""
    statistic: str | None = None
    """What the weight is."""
    interval: tuple[float, float] | None = None
    n: int | None = None
    """Independent units behind it."""
    p: float | None = None
    q: float | None = None
    grade: str | None = None
    codes: tuple[str, ...] = ()
    rows: InterventionRows | None = None
    run: str
    """Name of the bundle that shows it."""

    @model_validator(mode="after")
    def _backed(self) -> Self:
        if self.edge == "affects" and self.rows is None:
            raise ValueError("an edge `affects` lists the intervention rows that it rests on")
        if self.edge != "affects" and self.rows is not None:
            raise ValueError(f"an edge `{self.edge}` rests on no intervention rows")
        if self.kind != KIND.get(self.edge, self.kind) or (self.edge == "corresponds" and self.kind == "causal"):
            raise ValueError(f"an edge `{self.edge}` is not {self.kind} evidence")
        return self


class Graph(Result):
    """Everything that some runs show of features, and how it hangs together."""

    SCHEMA: ClassVar[str] = "radiograph.graph/1"

    runs: tuple[GraphRun, ...]
    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]
    left_out: dict[str, int] = Field(default_factory=dict)
    """Findings without an edge, by reason."""
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _closed(self) -> Self:
        kinds: dict[str, str] = {}
        for node in self.nodes:
            if node.id in kinds:
                raise ValueError(f"node {node.id!r} stands twice")
            kinds[node.id] = node.kind
        named = {run.name for run in self.runs}
        for edge in self.edges:
            for end in (edge.source, edge.target):
                if end not in kinds:
                    raise ValueError(f"edge {edge.edge} names {end!r}, which is no node")
            if edge.run not in named:
                raise ValueError(f"edge {edge.edge} comes from {edge.run!r}, which is no run of the graph")
            if edge.edge == "affects" and kinds[edge.target] not in ("outcome", "feature"):
                raise ValueError(f"an edge `affects` ends at an outcome or a feature, not at {edge.target!r}")
        return self

    def count(self, edge: EdgeName) -> int:
        """Edges of a name."""
        return sum(one.edge == edge for one in self.edges)

    @property
    def headline(self) -> str:
        """Features, and the claims about them by name."""
        features = sum(node.kind == "feature" for node in self.nodes)
        found = [f"{n} {name}" for name in EDGES if name != "part_of" and (n := self.count(name))]
        return f"{features} features: {', '.join(found) if found else 'nothing shown of any'}"

    @property
    def lines(self) -> tuple[str, ...]:
        """What a reader should know."""
        return self.notes


def node_id(kind: NodeKind, *parts: Any) -> str:
    """The id of a node: its kind and what makes it itself."""
    return ":".join([kind, *(str(part) for part in parts if part)])


__all__ = [
    "EDGES",
    "KIND",
    "EdgeKind",
    "EdgeName",
    "Graph",
    "GraphEdge",
    "GraphNode",
    "GraphRun",
    "InterventionRows",
    "NodeKind",
    "node_id",
]
