"""Draw, prune, group and write the graph of a selection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING

from radiograph.core import Context, derive
from radiograph.evidence.graphs import AttributionGraph, GraphKind, GraphPrompt, LossRecord, TokenSeen
from radiograph.methods.graph._circuits import document as _document
from radiograph.methods.graph._circuits.picture import picture_of

if TYPE_CHECKING:
    from torch import Tensor

    from radiograph.decompose.circuits import Goal, GraphSettings
    from radiograph.methods.graph._circuits.opened import Case

SEEN = 10


@dataclass(frozen=True, slots=True)
class Asked:
    """What is kept of a graph."""

    kind: GraphKind
    node_share: float = 0.8
    edge_share: float = 0.98
    non_adversarial: bool = False
    grouping: _document.Grouping = field(default_factory=_document.Grouping)


def graph_of(
    case: Case,
    ctx: Context,
    selected: Tensor,
    goals: Sequence[Goal],
    settings: GraphSettings,
    asked: Asked,
    loss: LossRecord,
) -> tuple[_document.Made, AttributionGraph, tuple[str, ...]]:
    """Trace a selection and write `graph.json` and its tables; what of groups made by hand is not shown."""
    from radiograph.decompose.circuits import draw

    with ctx.measure("trace"), ctx.progress.task("tracing") as task:
        drawn = draw(case.prompt, selected, goals, settings, watch=task.advance)
    with ctx.measure("prune"):
        made = _document.made(drawn, node_share=asked.node_share, edge_share=asked.edge_share)
    groups, notes = _document.groups(case, made, derive(ctx.seed, "graph", "groups"), asked.grouping)
    found = _document.document(
        case,
        made,
        kind=asked.kind,
        loss=loss,
        slug="-".join(case.text.lower().split())[:40] or "prompt",
        version=version("radiograph"),
        shares=(asked.node_share, asked.edge_share),
        labels=asked.grouping.labels,
        supernodes=groups,
        live=settings.live,
        non_adversarial=asked.non_adversarial,
    )
    ctx.output.json("graph.json", found)
    for name, columns in _document.tables(made).items():
        ctx.output.table(name, columns)
    return made, found, notes


def graph_result(
    case: Case,
    ctx: Context,
    selected: Tensor,
    goals: Sequence[Goal],
    settings: GraphSettings,
    asked: Asked,
    loss: LossRecord,
    *,
    normalise: str,
) -> GraphPrompt:
    """The result of `graph prompt`."""
    made, found, notes = graph_of(case, ctx, selected, goals, settings, asked, loss)
    before, after = made.records()
    return GraphPrompt(
        model=case.name,
        decomposition=case.decomposition.sha256,
        prompt=case.text,
        prompt_tokens=case.tokens,
        facts=found.radiograph,
        unpruned=before,
        pruned=after,
        node_share=asked.node_share,
        edge_share=asked.edge_share,
        dropped_nodes=before.nodes - after.nodes,
        dropped_edges=before.edges - after.edges,
        targets=predictions(case, masked=False),
        masked=predictions(case, masked=True),
        top=_document.leading(made),
        worst_gap=None if settings.live else made.drawn.worst_gap,
        normalise=normalise,
        notes=notes,
        picture=picture_of(found, normalise),
    )


def predictions(case: Case, *, masked: bool) -> tuple[TokenSeen, ...]:
    """The likeliest next tokens of the target, and what they become under importance masks."""
    import torch

    own = case.prompt.logits[-1].float().softmax(-1)
    order = own.topk(min(SEEN, len(own))).indices.tolist()
    if masked:
        with torch.no_grad():
            own = case.prompt.run(case.prompt.importance[None], None)[0, -1].float().softmax(-1)
    return tuple(TokenSeen(token=t, text=case.token(t), p=float(own[t])) for t in order)
