"""Which components of a model carry a prompt to its next token, and through which others?

1. the model runs on the prompt; importance says which components are alive where (importance > 0)
2. importance-masked forward: the probabilities that the components alone give
3. linearised forward, all masks 1 and Δ 1, so that edges do not depend on the importance being good: norm denominators
   and attention patterns fixed, pointwise functions by their secant. Value edges and the bias add up to the target
4. one vector-Jacobian product a target, from the logits back, through the nodes with most influence first. Modulating
   edges (queries, keys, gates) are drawn dashed and are no part of the sum
5. influence, replacement and completeness, before and after pruning; groups of nodes: those that hang in alike, those
   whose components are active together, those that were made by hand. Each has the mean cosine of its members' edges,
   beside what it is where edges change places among those that join the same two matrices
`--from FILE` reads a graph of circuit-tracer or Neuronpedia instead: to look at and to compare.

Units: activations h, logits without their mean. Sources: circuit-tracer (Ameisen et al. 2025), attribution of weight
components. Refuses when: the decomposition is of another model; the prompt is empty or too long; a norm is not known;
nothing is alive (exit 4).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import Context, DecompositionRef, FilePath, ModelRef, Refusal, RunPath, UserError
from radiograph.core.config import Positional
from radiograph.evidence.graphs import GraphPrompt

if TYPE_CHECKING:
    from radiograph.methods.graph._circuits.document import Grouping
    from radiograph.methods.graph._circuits.opened import Case

LIMITS = ("json-bytes",)


class Config(Base):
    """Which prompt, and how its graph is drawn."""

    decomposition: Annotated[DecompositionRef | None, Positional()] = None
    """A run of `decompose train`, a folder, or decomposition:bundled."""
    prompt: Annotated[str | None, Positional()] = None
    """The text."""
    tokens: str | None = None
    """The prompt as token ids instead, by comma."""
    from_: FilePath | None = None
    """A graph that another program wrote, instead of a prompt."""
    model: ModelRef | None = None
    """The model that was decomposed; by default the one that the decomposition names."""
    kind: Literal["natural", "selected"] = "natural"
    """natural: all alive nodes; selected: those of --nodes."""
    nodes: tuple[str, ...] = ()
    """Nodes of a selected graph, as down.2:17/5; repeatable."""
    target: str | None = None
    """What is explained: "A", or "A - B"; by default the likeliest tokens."""
    label_id: int | None = None
    """The same as a token id."""
    positions: Literal["last", "all"] = "last"
    """Where logits are explained."""
    gradient: Literal["linearised", "live"] = "linearised"
    """live: plain autograd, whose edges do not add up."""
    max_nodes: int = Field(default=4000, ge=1)
    """Targets that are expanded."""
    node_share: float = Field(default=0.8, gt=0, le=1)
    """Share of influence that the kept nodes hold."""
    edge_share: float = Field(default=0.98, gt=0, le=1)
    """The same of edges."""
    normalise: Literal["none", "target", "weight"] = "target"
    """Of the picture: widths as shares of the edges into a target, or into a matrix, or as they are."""
    group: Literal["none", "profile", "mdl"] = "none"
    """Supernodes. profile: nodes with alike edges; mdl: nodes whose components are one group of --clusters."""
    clusters: RunPath | None = None
    """A run of `decompose cluster`."""
    across: bool = False
    """Supernodes may span positions."""
    supernode: tuple[str, ...] = ()
    """One made by hand, as "colour=down.2:17/5,up.2:3/5", beside the others. Repeatable."""
    labels: RunPath | None = None
    """A run of `decompose label`: what nodes and supernodes are called."""
    copies: int = Field(default=32, ge=1, le=4096)
    """Copies of the prompt in one pass: speed and memory alone."""


def run(config: Config, ctx: Context) -> GraphPrompt:
    """Read or trace, prune, write."""
    if config.from_ is not None:
        from radiograph.methods.graph._circuits.imported import imported

        if config.decomposition is not None or config.prompt is not None or config.tokens is not None:
            raise UserError("a graph is read or traced, not both", where="--from", fix="leave out the prompt")
        if config.group != "none" or config.clusters or config.supernode or config.labels:
            raise UserError("a graph that is read keeps its own groups", where="--from", fix="leave out how to group")
        return imported(config.from_, ctx, config.node_share, config.edge_share)
    if config.decomposition is None:
        raise UserError("graph prompt needs a decomposition", expected="DECOMPOSITION TEXT, or --from FILE.json")
    from radiograph.methods.graph._circuits.opened import opened

    case = opened(ctx, config.decomposition, config.model, config.prompt, config.tokens)
    return _traced(config, ctx, case)


def _traced(config: Config, ctx: Context, case: Case) -> GraphPrompt:
    from radiograph.decompose.circuits import GraphSettings
    from radiograph.evidence.graphs import LossRecord
    from radiograph.methods.graph._circuits import goals, traced

    if config.nodes and config.kind != "selected":
        raise UserError("--nodes are of a selected graph", where="--nodes", fix="--kind selected", code="bad_value")
    if not bool(case.prompt.alive.any()):
        raise Refusal("nothing_alive", "no component is alive on this prompt", fix="another prompt or decomposition")
    if config.kind == "selected":
        if not config.nodes:
            raise UserError("a selected graph needs --nodes", fix="as --nodes down.2:17/5", code="bad_value")
        selected = case.prompt.chosen(config.nodes, where="--nodes")
    else:
        selected = case.prompt.alive
    aims = goals.goals_of(case, config.target, config.label_id, config.positions)
    settings = GraphSettings(config.max_nodes, config.copies, config.gradient == "live")
    return traced.graph_result(
        case,
        ctx,
        selected,
        aims,
        settings,
        traced.Asked(config.kind, config.node_share, config.edge_share, grouping=_grouping(config, ctx, case)),
        LossRecord(kind="mean_kl"),
        normalise=config.normalise,
    )


def _grouping(config: Config, ctx: Context, case: Case) -> Grouping:
    """What nodes are grouped by, and called."""
    from radiograph.methods.graph._circuits.document import Grouping
    from radiograph.store.components import open_clusters, open_component_labels

    if (config.group == "mdl") != (config.clusters is not None):
        raise UserError(
            "--group mdl and --clusters go together",
            where="--clusters",
            expected="a run of `decompose cluster` on this decomposition, with --group mdl",
            code="bad_value",
        )
    cluster_of: dict[str, str] = {}
    if config.clusters is not None:
        found = open_clusters(ctx.path(config.clusters, "clusters"), case.sha256)
        cluster_of = {member: group.name for group in found.groups for member in group.members}
    labels: dict[str, str] = {}
    if config.labels is not None:
        labels = open_component_labels(ctx.path(config.labels, "labels"), case.sha256).words
    return Grouping(config.group, config.across, cluster_of, _by_hand(config.supernode, case), labels)


def _by_hand(given: tuple[str, ...], case: Case) -> dict[str, tuple[str, ...]]:
    """Nodes of each group that is made by hand, as they are written.

    Raises:
        UserError: no name, under two nodes, a name or a node that is given twice, a node that is not alive.
    """
    where = "--supernode"
    found: dict[str, tuple[str, ...]] = {}
    taken: set[str] = set()
    for text in given:
        name, _, rest = text.partition("=")
        texts = [part.strip() for part in rest.split(",") if part.strip()]
        case.prompt.chosen(texts, where=where)
        nodes = tuple(str(case.decomposition.node(part, case.prompt.length)) for part in texts)
        name = name.strip()
        if not name or len(nodes) < 2:
            raise UserError(
                "a supernode is a name and two nodes or more",
                where=where,
                expected='as "colour=down.2:17/5,up.2:3/5"',
                got=repr(text),
                code="bad_value",
            )
        if name in found or taken & set(nodes) or len(set(nodes)) < len(nodes):
            raise UserError("a supernode or a node is given twice", where=where, got=repr(text), code="duplicate")
        found[name] = nodes
        taken |= set(nodes)
    return found


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """Influence, scores and pruning again, from the stored edges."""
    from radiograph.methods.graph._circuits.again import graph_problems
    from radiograph.methods.graph._circuits.imported import imported_problems

    found = GraphPrompt.read(result)
    if found.decomposition is None:
        return imported_problems(folder, found)
    shares = {"node_share": found.node_share, "edge_share": found.edge_share}
    return graph_problems(folder, found.unpruned, found.pruned, **shares)
