"""What `graph prompt` and `graph optimise` found, in numbers; the graph itself is `graph.json`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from radiograph.core import ExitCode
from radiograph.evidence._record import Record, RefusalRecord, Result
from radiograph.evidence.graphs._graph import GraphFacts, LossRecord


class ScoresRecord(Record):
    """How much of the way from tokens to targets runs through components."""

    nodes: int
    edges: int
    replacement: float | None
    completeness: float | None


class TokenSeen(Record):
    """A prediction."""

    token: int
    text: str
    p: float


class TopNode(Record):
    """A node with much influence."""

    address: str
    kind: str
    influence: float
    activation: float | None = None
    importance: float | None = None


class PictureNode(Record):
    """A node of the picture."""

    address: str
    kind: str
    position: int
    row: int
    """Height: tokens 0, then weights in forward order, logits last."""
    text: str
    influence: float


class PictureEdge(Record):
    """An edge of the picture, by numbers of nodes."""

    source: int
    target: int
    weight: float
    size: float
    """What its width is drawn by, 0 to 1."""
    modulating: bool = False


class Picture(Record):
    """The part of a graph that fits on a page: the nodes with most influence, their strongest edges."""

    nodes: tuple[PictureNode, ...]
    edges: tuple[PictureEdge, ...]
    rows: tuple[str, ...]
    """What stands at each height."""
    left_out_nodes: int
    left_out_edges: int


class GraphPrompt(Result):
    """The graph of one prompt."""

    SCHEMA: ClassVar[str] = "radiograph.graph-prompt/1"

    model: str
    decomposition: str | None = None
    prompt: str
    prompt_tokens: tuple[str, ...]
    facts: GraphFacts
    unpruned: ScoresRecord
    pruned: ScoresRecord
    node_share: float
    edge_share: float
    dropped_nodes: int
    dropped_edges: int
    targets: tuple[TokenSeen, ...] = ()
    """Logits that the graph explains, with their probability in the target."""
    masked: tuple[TokenSeen, ...] = ()
    """The same under importance masks."""
    top: tuple[TopNode, ...] = ()
    worst_gap: float | None = None
    """Largest |Σ value edges − value|/max(1, |value|) over expanded targets; None for a live or imported graph."""
    normalise: str = "none"
    picture: Picture | None = None
    notes: tuple[str, ...] = ()

    @property
    def headline(self) -> str:
        """Sizes and scores."""
        word = {"imported": "imported graph"}.get(self.facts.kind, f"{self.facts.kind} graph")
        alive = f" ({self.facts.alive} alive)" if self.facts.alive is not None else ""
        return (
            f"{word}: {self.facts.shown} components shown{alive}, {self.pruned.edges} edges; "
            f"replacement {_number(self.pruned.replacement)}, completeness {_number(self.pruned.completeness)}"
        )


class RowResult(Record):
    """One sparsity of a search."""

    sparsity: float
    before_repair: int
    """Nodes."""
    selected: int
    rounds: int = 0
    holds: bool
    """The label is kept under the evaluation adversary."""
    adversarial_before: float | None = None
    """Label probability before repair."""
    p: dict[str, float] = Field(default_factory=dict)
    """Label probability by regime; `label`, where it is attacked itself and goes lower than under the loss's attack."""
    loss: dict[str, float] = Field(default_factory=dict)

    @property
    def lowest(self) -> float:
        """Label probability under the worst masks that were found."""
        return self.p.get("label", self.p["adversarial"])


class GraphOptimise(Result):
    """The smallest selection that was found."""

    SCHEMA: ClassVar[str] = "radiograph.graph-optimise/1"

    model: str
    decomposition: str
    prompt: str
    prompt_tokens: tuple[str, ...]
    loss: LossRecord
    label: TokenSeen
    alive: int
    rows: tuple[RowResult, ...]
    """One a sparsity; the graph is of the first."""
    keep: float
    max_loss: float | None = None
    """Instead of `keep`: the most by which the loss may exceed the target's."""
    target_loss: float = 0.0
    adversary_weight: float
    repaired: bool
    non_adversarial: bool
    controls: tuple[float, ...] = ()
    p_value: float | None = None
    steps: int
    l0: float
    """Selected nodes a position."""
    facts: GraphFacts | None = None
    unpruned: ScoresRecord | None = None
    pruned: ScoresRecord | None = None
    node_share: float = 1.0
    edge_share: float = 0.98
    worst_gap: float | None = None
    picture: Picture | None = None
    not_measured: tuple[RefusalRecord, ...] = ()

    @property
    def headline(self) -> str:
        """How many nodes, and whether they hold."""
        row = self.rows[0]
        grew = f" ({row.before_repair} before repair, {row.rounds} rounds)" if self.repaired else ""
        held = "holds" if row.holds else "does not hold"
        stamp = " [non_adversarial]" if self.non_adversarial else ""
        return (
            f"{row.selected} of {self.alive} alive nodes{grew}: {held} under the adversary "
            f"(label p {self.label.p:.3f} in the target, {row.lowest:.3f} attacked){stamp}"
        )

    @property
    def exit_code(self) -> ExitCode:
        """Always a result; `graph intervene --require` is the gate."""
        return ExitCode.PASS


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.2f}"
