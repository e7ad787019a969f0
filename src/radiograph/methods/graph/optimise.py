"""What is the smallest set of components that still gives this prompt its answer, even against the worst of the rest?

1. the model runs on the prompt; alive nodes are (position, component) pairs with importance > 0
2. their importance is optimised, weights frozen, from the model's own: recon under stochastic masks + --sparsity ×
   minimality + --adversary-weight × recon under masks that six sign-gradient ascents made worst
3. repair: while the evaluation adversary (the worse of 4 x 1.0 and 20 x 0.1, 4 starts; on the loss, and on the label
   where that is another) leaves less than --keep of the label's probability, the nodes with the largest first-order
   damage at its masks join. Both sizes are reported
4. the set under four regimes, beside random sets of as many alive nodes at each weight and position; its graph
Sufficient without an adversary means little: --adversary-weight 0 must be asked for, and stamps every output
`non_adversarial`. The words used are suffices and does not suffice, never necessary.

Units: nats (logits for -logit). Source: adversarial parameter decomposition (2026). Refuses when: all alive nodes
together fail (`natural_set_fails`, exit 4): then the decomposition is at fault; the label is kept without any component
(`nothing_needed`, exit 4): then every set suffices; nothing is alive.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import Context, DecompositionRef, ModelRef, Refusal, UserError
from radiograph.core.config import Positional
from radiograph.evidence.graphs import GraphOptimise

if TYPE_CHECKING:
    from radiograph.decompose.circuits import Context as Loss
    from radiograph.decompose.circuits import Optimised, Snapshot
    from radiograph.methods.graph._circuits.opened import Case


class Config(Base):
    """Which prompt, which answer, and what a set must withstand."""

    decomposition: DecompositionRef
    """A run of `decompose train`, a folder, or decomposition:bundled."""
    prompt: Annotated[str | None, Positional()] = None
    """The text."""
    tokens: str | None = None
    """The prompt as token ids instead, by comma."""
    model: ModelRef | None = None
    """The model that was decomposed; by default the one that the decomposition names."""
    target: str | None = None
    """The answer, one token; by default the model's own first choice."""
    label_id: int | None = None
    """The same as a token id."""
    position: int | None = None
    """Where the answer is predicted; by default the last position."""
    recon: Literal["ce", "kl", "mean_kl", "-logit"] = "ce"
    """What must be kept: the answer, a position's distribution, all positions', the answer's logit."""
    masks: Literal["stochastic", "importance"] = "stochastic"
    """Masks of recon."""
    sparsity: str = "0.02"
    """Price of a node; several by comma run at once."""
    adversary_weight: float = Field(default=3.0, ge=0)
    """Weight of the worst case; 0 leaves it out, and stamps the result."""
    steps: int = Field(default=150, ge=0)
    """Steps of the search."""
    lr: float = Field(default=5e-2, gt=0)
    """Of AdamW."""
    repair: bool = True
    """Let nodes join until the adversary fails."""
    keep: float = Field(default=0.9, gt=0, le=1)
    """Share of the label's probability that must be left."""
    max_loss: float | None = Field(default=None, ge=0)
    """Instead of --keep: the most by which the loss may exceed the target's."""
    controls: int = Field(default=19, ge=0)
    """Random sets beside the one found."""
    max_nodes: int = Field(default=4000, ge=1)
    """Targets that the graph expands."""
    node_share: float = Field(default=1.0, gt=0, le=1)
    """Share of influence that the shown nodes hold."""
    edge_share: float = Field(default=0.98, gt=0, le=1)
    """The same of edges."""


def run(config: Config, ctx: Context) -> GraphOptimise:
    """Search, repair, judge, trace, write."""
    from radiograph.decompose.circuits import Settings, context_of, optimise
    from radiograph.methods.graph._circuits.opened import opened, token_of

    sparsities = _numbers(config.sparsity)
    case = opened(ctx, config.decomposition, config.model, config.prompt, config.tokens)
    token = token_of(case, config.target, config.label_id, option="--target")
    context = context_of(case.prompt, config.recon, token=token, position=config.position)
    if not bool(case.prompt.alive.any()):
        raise Refusal("nothing_alive", "no component is alive on this prompt", fix="another prompt or decomposition")
    settings = Settings(sparsities, config.adversary_weight, config.masks, config.steps, config.lr)
    _check_natural(config, ctx, case, context)
    with ctx.measure("optimise"), ctx.progress.task("searching", config.steps) as task:
        done = [0]

        def watch(shot: Snapshot) -> None:
            task.advance(shot.step - done[0])
            done[0] = shot.step
            task.note(f"{int(shot.selected[0].sum())} nodes, recon {float(shot.recon[0]):.3f}")

        found = optimise(case.prompt, context, settings, seed=ctx.seed, watch=watch)
    return _judged(config, ctx, case, context, found, sparsities)


def _check_natural(config: Config, ctx: Context, case: Case, context: Loss) -> None:
    """All alive nodes together must do it, and none of them must not.

    Raises:
        Refusal: they do not; or no component is needed for it.
    """
    from radiograph.decompose.circuits import holds, worst
    from radiograph.methods.graph._circuits.goals import needed

    with ctx.measure("natural set"):
        whole = worst(case.prompt, case.prompt.alive, context, seed=ctx.seed).measured
    needed(case, context, keep=config.keep, max_loss=config.max_loss)
    if not holds(context, whole.p, whole.loss, keep=config.keep, max_loss=config.max_loss):
        raise Refusal(
            "natural_set_fails",
            "all alive components together do not keep the answer, so no selection of them can",
            expected=f"the label at p {config.keep * context.target_probability:.3f} or more"
            if config.max_loss is None
            else f"a loss of at most {config.max_loss} more than the target's",
            got=f"p {whole.p:.3f} and a loss of {whole.loss:.3g}, what is not alive being random",
            fix="the decomposition is at fault: train it longer, or give another prompt",
        )


def _judged(
    config: Config, ctx: Context, case: Case, context: Loss, found: Optimised, sparsities: tuple[float, ...]
) -> GraphOptimise:
    from radiograph.decompose.circuits import Goal, GraphSettings, controls
    from radiograph.evidence.graphs import TokenSeen
    from radiograph.methods.graph._circuits import search, traced
    from radiograph.methods.graph._circuits.picture import picture_of
    from radiograph.methods.graph._circuits.written import controls_record, loss_record

    non_adversarial = config.adversary_weight == 0
    rows = [search.row_of(config, ctx, case, context, found.selected[n], s) for n, s in enumerate(sparsities)]
    first, selected = rows[0]
    with ctx.measure("controls"):
        drawn = controls(case.prompt, selected, context, sets=config.controls, seed=ctx.seed)
    beside = controls_record(first.p["importance"], drawn)
    search.write_tables(ctx, case, found, [chosen for _, chosen in rows], sparsities)
    goal = Goal(context.label.position, ((context.label.token, 1.0),), 1.0)
    made, graph, _ = traced.graph_of(
        case,
        ctx,
        selected,
        [goal],
        GraphSettings(config.max_nodes),
        traced.Asked("optimised", config.node_share, config.edge_share, non_adversarial=non_adversarial),
        loss_record(context),
    )
    before, after = made.records()
    return GraphOptimise(
        model=case.name,
        decomposition=case.decomposition.sha256,
        prompt=case.text,
        prompt_tokens=case.tokens,
        loss=loss_record(context),
        label=TokenSeen(token=context.label.token, text=case.token(context.label.token), p=context.target_probability),
        alive=int(case.prompt.alive.sum()),
        rows=tuple(row for row, _ in rows),
        keep=config.keep,
        max_loss=config.max_loss,
        target_loss=context.target_loss,
        adversary_weight=config.adversary_weight,
        repaired=config.repair,
        non_adversarial=non_adversarial,
        controls=tuple(drawn),
        p_value=None if beside is None else beside.p_value,
        steps=config.steps,
        l0=first.selected / case.prompt.length,
        facts=graph.radiograph,
        unpruned=before,
        pruned=after,
        node_share=config.node_share,
        edge_share=config.edge_share,
        worst_gap=made.drawn.worst_gap,
        picture=picture_of(graph),
    )


def _numbers(text: str) -> tuple[float, ...]:
    found: list[float] = []
    for part in text.split(","):
        try:
            value = float(part)
        except ValueError:
            value = -1.0
        if not 0 <= value < float("inf"):
            raise UserError(f"{part!r} is no sparsity", where="--sparsity", expected="numbers from 0, as 0.02,0.1")
        if value in found:
            raise UserError(f"sparsity {value:g} is given twice", where="--sparsity", code="duplicate")
        found.append(value)
    return tuple(found)


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """The graph again from its edges; the grade, the counts and p again from the tables."""
    from radiograph.methods.graph._circuits.again import graph_problems, search_problems

    found = GraphOptimise.read(result)
    assert found.unpruned is not None
    assert found.pruned is not None
    shares = {"node_share": found.node_share, "edge_share": found.edge_share}
    return [*graph_problems(folder, found.unpruned, found.pruned, **shares), *search_problems(folder, found)]
