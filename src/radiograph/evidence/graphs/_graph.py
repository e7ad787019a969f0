"""`radiograph.attribution-graph/1`: a graph of a prompt, a superset of the public attribution-graph schema.

Viewers of that schema (circuit-tracer, Neuronpedia) draw it; what is ours stands under `radiograph` in the document, in
nodes and in links. `influence` of a node is, as they read it, the share of all influence at which it enters when nodes
are taken largest first; the influence itself is in `radiograph`. Components are called `cross layer transcoder`, Δ and
rest `mlp reconstruction error`, because viewers know those names; `radiograph.kind` says what they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from radiograph.evidence._record import Document, Record

GraphKind = Literal["natural", "selected", "optimised", "imported"]
COMPONENT_TYPE: Final = "cross layer transcoder"
ERROR_TYPE: Final = "mlp reconstruction error"


class LossRecord(Record):
    """The loss that a graph implies."""

    kind: Literal["ce", "kl", "mean_kl", "-logit"]
    token: int | None = None
    position: int | None = None


class NodeExtra(Record):
    """What we know of a node."""

    address: str
    position: int
    kind: Literal["component", "token", "position", "bias", "logit", "delta", "rest"]
    importance: float | None = None
    alive: bool | None = None
    influence: float | None = None
    """Σ over paths to the targets, of normalised absolute weights."""


class NodeRecord(Record):
    """A node, under the public names."""

    node_id: str
    feature: int | None
    layer: str
    ctx_idx: int
    feature_type: str
    jsNodeId: str
    clerp: str
    influence: float | None = None
    activation: float | None = None
    token_prob: float | None = None
    is_target_logit: bool | None = None
    radiograph: NodeExtra | None = None

    @property
    def is_error(self) -> bool:
        """What no feature holds."""
        return "error" in self.feature_type


class LinkExtra(Record):
    """What we know of a link."""

    kind: Literal["value", "modulating"]
    abs: float
    """sign(target) × weight."""


class LinkRecord(Record):
    """A direct effect."""

    source: str
    target: str
    weight: float
    radiograph: LinkExtra | None = None


class SupernodeRecord(Record):
    """Nodes drawn as one."""

    name: str
    members: tuple[str, ...]
    """Ids of nodes."""
    how: Literal["profile", "mdl", "hand"]
    cosine: float | None = None
    """Mean over pairs of members, of signed in- and out-edges."""
    chance: float | None = None
    """Mean over shuffles of the best such cosine of a group at least as large."""
    p: float | None = None


class GraphFacts(Record):
    """What we know of a graph. Alive, selected and shown are three counts of three sets."""

    kind: GraphKind
    loss: LossRecord | None = None
    target_sha256: str | None = None
    decomposition_sha256: str | None = None
    alive: int | None = None
    """Components with importance > 0 on this prompt, in the model."""
    selected: int | None = None
    """Components that are nodes before pruning."""
    selection: tuple[str, ...] | None = None
    """Their addresses, where they were chosen; None where they are all alive ones."""
    shown: int
    """Components among the nodes here."""
    replacement: float | None = None
    """After pruning."""
    completeness: float | None = None
    replacement_unpruned: float | None = None
    completeness_unpruned: float | None = None
    unexpanded: int = 0
    gradient: Literal["linearised", "live"] = "linearised"
    non_adversarial: bool = False
    supernodes: tuple[SupernodeRecord, ...] = ()
    notes: tuple[str, ...] = ()


class AttributionGraph(Document):
    """The document."""

    SCHEMA: ClassVar[str] = "radiograph.attribution-graph/1"

    metadata: dict[str, Any]
    qParams: dict[str, Any]
    nodes: tuple[NodeRecord, ...]
    links: tuple[LinkRecord, ...]
    radiograph: GraphFacts = Field()

    @model_validator(mode="after")
    def _closed(self) -> Self:
        known = {node.node_id for node in self.nodes}
        if len(known) != len(self.nodes):
            raise ValueError("two nodes have one id")
        for number, link in enumerate(self.links):
            if link.source not in known or link.target not in known:
                raise ValueError(f"link {number} names a node that is not there")
        return self

    @property
    def prompt_tokens(self) -> Sequence[str]:
        """Texts of tokens."""
        return self.metadata["prompt_tokens"]


def cantor(layer: int, index: int) -> int:
    """The pairing that `schema_version` 1 demands of a feature's number."""
    return (layer + index) * (layer + index + 1) // 2 + index
