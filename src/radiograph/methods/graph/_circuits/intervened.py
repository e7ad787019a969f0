"""From a graph and a selection to regimes, controls and a grade."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from radiograph.core import Context, FormatError, Refusal, UserError, visible
from radiograph.evidence.graphs import AttributionGraph, Regimes, grade
from radiograph.methods.graph._circuits import opened as _opened
from radiograph.methods.graph._circuits import written as _written
from radiograph.methods.graph._circuits.coded import coded_case
from radiograph.methods.graph._circuits.goals import needed
from radiograph.methods.graph._circuits.imported import kind_of, read_document
from radiograph.store import MANIFEST, Bundle, finished

if TYPE_CHECKING:
    from torch import Tensor

    from radiograph.decompose.circuits import Context as Loss
    from radiograph.decompose.circuits import Regimes as Measured
    from radiograph.methods.graph._circuits.written import AnyCase

GRAPH = "graph.json"
_TOKEN = re.compile(r"E_(\d{1,9})_\d+")
_TARGET = re.compile(r"\d+_(\d{1,9})_\d+")


@dataclass(frozen=True, eq=False)
class Given:
    """A graph with the decomposition and the prompt that it is of."""

    document: AttributionGraph
    sha256: str
    decomposition: str | None
    """None: the graph came from elsewhere, and dictionaries are given."""
    ids: tuple[int, ...]


def intervened(config: Any, ctx: Context) -> Regimes:
    """Measure a selection.

    Raises:
        UserError: a selected node is not alive, or a pseudo-node. Refusal: a graph from elsewhere.
    """
    given = _given(config, ctx)
    case = _case(config, ctx, given)
    if case.tokens != tuple(given.document.prompt_tokens):
        raise UserError(
            "the graph shows other tokens than it names",
            expected=" ".join(visible(one, 20) for one in case.tokens),
            got=" ".join(visible(str(one), 20) for one in given.document.prompt_tokens),
            code="bad_graph",
        )
    context = _context(case, given.document)
    needed(case, context, keep=config.keep, max_loss=config.max_loss)
    selected = _selected(config, case, given.document)
    ablated = _ablated(config, case, selected)
    found = _measured(config, ctx, case, context, selected, ablated)
    return _result(config, ctx, case, context, given, found, selected, ablated)


def _case(config: Any, ctx: Context, given: Given) -> AnyCase:
    """The prompt, under the decomposition or the dictionaries that the graph is of."""
    if given.decomposition is None:
        return coded_case(ctx, config.dictionary, config.model, given.ids, given.document)
    decomposition = ctx.decomposition(given.decomposition)
    facts = given.document.radiograph
    if facts.decomposition_sha256 != decomposition.sha256:
        raise Refusal(
            "decomposition_mismatch",
            "the graph is of another decomposition",
            expected=str(facts.decomposition_sha256),
            got=decomposition.sha256,
            fix="name the decomposition that the graph was traced with: --decomposition",
            fixable=True,
        )
    return _opened.case_of(ctx, decomposition, config.model, None, given.ids)


def _given(config: Any, ctx: Context) -> Given:
    """The graph, and where its decomposition lies."""
    place = Path(config.graph)
    folder = ctx.locate(config.graph)
    inside = folder.is_dir()
    name = str(place / GRAPH) if inside else config.graph
    if inside and not (folder / GRAPH).is_file():
        raise UserError(
            f"{folder.name} holds no graph", expected="a run of graph prompt or graph optimise", code="not_found"
        )
    with ctx.opened(name, "graph") as file:
        sha256 = file.sha256
    if inside:
        finished(folder, GRAPH)
    document = read_document(ctx, name, "graph")
    if document.radiograph.kind == "imported" or document.radiograph.decomposition_sha256 is None:
        _check_foreign(config)
        return Given(document, sha256, None, _ids(document))
    if config.dictionary:
        raise UserError("this graph is of a decomposition", where="--dictionary", fix="leave it out", code="bad_value")
    ids = _ids(document)
    reference = config.decomposition or (_decomposition_of(folder if inside else folder.parent))
    if reference is None:
        raise UserError(
            "where the decomposition of this graph lies is not known", fix="name it: --decomposition", code="not_found"
        )
    return Given(document, sha256, reference, ids)


def _check_foreign(config: Any) -> None:
    """What a graph from elsewhere needs.

    Raises:
        Refusal: `dictionary_missing`, exit 4. UserError: a decomposition.
    """
    if config.decomposition is not None:
        raise UserError(
            "this graph came from elsewhere: it is of no decomposition",
            where="--decomposition",
            fix="--dictionary SITE=REF for every site",
            code="bad_value",
        )
    if not config.dictionary:
        raise Refusal(
            "dictionary_missing",
            "this graph came from elsewhere: without the dictionaries that its features are of nothing can be masked",
            fix="--dictionary SITE=REF for every site, or look at it with `graph prompt --from`",
        )


def _ids(document: AttributionGraph) -> tuple[int, ...]:
    """The prompt, from the token nodes' ids."""
    by_place: dict[int, int] = {}
    for node in document.nodes:
        if kind_of(node) == "token":
            token = _TOKEN.fullmatch(node.node_id)
            if token is None:
                raise FormatError(
                    "the graph does not say its prompt",
                    where=visible(node.node_id, 60),
                    expected="token nodes E_TOKEN_POSITION",
                    code="bad_graph",
                )
            by_place[node.ctx_idx] = int(token[1])
    length = len(document.prompt_tokens)
    if sorted(by_place) != list(range(length)):
        raise UserError(
            "the graph does not say its prompt: a token node for every position is missing",
            expected=f"{length} token nodes",
            got=str(len(by_place)),
            code="bad_graph",
        )
    return tuple(by_place[position] for position in range(length))


def _decomposition_of(folder: Path) -> str | None:
    """What the run that lies there named."""
    if not (folder / MANIFEST).is_file():
        return None
    return next((str(i.ref) for i in Bundle(folder).manifest.inputs if i.role == "decomposition"), None)


def _context(case: AnyCase, document: AttributionGraph) -> Loss:
    """The graph's own loss; of one from elsewhere the mean over positions, and its likeliest target as label."""
    from radiograph.decompose.circuits import context_of

    loss = document.radiograph.loss
    if loss is not None:
        return context_of(case.prompt, loss.kind, token=loss.token, position=loss.position)
    targets = [node for node in document.nodes if kind_of(node) == "logit"]
    likeliest = max(targets, key=lambda node: node.token_prob or 0.0, default=None)
    token = None if likeliest is None else _TARGET.fullmatch(likeliest.node_id)
    if likeliest is None or token is None:
        return context_of(case.prompt, "mean_kl")
    return context_of(case.prompt, "mean_kl", token=int(token[1]), position=likeliest.ctx_idx)


def _selected(config: Any, case: AnyCase, document: AttributionGraph) -> Tensor:
    """S: what was named, else what the graph selected, less what was taken from it."""
    shown = document.radiograph.selection
    if document.radiograph.kind == "imported":
        shown = tuple(node.node_id for node in document.nodes if kind_of(node) == "component")
    if shown is None:
        extras = (node.radiograph for node in document.nodes)
        shown = tuple(one.address for one in extras if one is not None and one.kind == "component")
    names = config.select or shown
    chosen = case.prompt.chosen(names, where="--select" if config.select else "the graph")
    taken = case.prompt.chosen(config.deselect, where="--deselect")
    if bool((taken & ~chosen).any()):
        raise UserError(
            f"{case.prompt.nodes(taken & ~chosen)[0]} is not selected, so it cannot be taken away",
            where="--deselect",
            expected=f"among the {int(chosen.sum())} selected nodes",
            code="not_selected",
        )
    return chosen & ~taken


def _ablated(config: Any, case: AnyCase, selected: Tensor) -> Tensor | None:
    if config.ablate == "none":
        return None
    if config.ablate == "rest":
        return case.prompt.alive & ~selected
    names = [part.strip() for part in config.ablate.split(",") if part.strip() and part.strip() != "empty"]
    return case.prompt.chosen(names, where="--ablate")


def _measured(
    config: Any, ctx: Context, case: AnyCase, context: Loss, selected: Tensor, ablated: Tensor | None
) -> tuple[Measured, list[float]]:
    from radiograph.decompose.circuits import controls, measure

    with ctx.measure("regimes"), ctx.progress.task("measuring regimes"):
        found = measure(
            case.prompt, selected, context, seed=ctx.seed, ablate=ablated, delta=config.delta, draws=config.draws
        )
    with ctx.measure("controls"), ctx.progress.task("measuring controls"):
        beside = controls(case.prompt, selected, context, sets=config.controls, seed=ctx.seed, delta=config.delta)
    return found, beside


def _result(
    config: Any,
    ctx: Context,
    case: AnyCase,
    context: Loss,
    given: Given,
    measured: tuple[Measured, list[float]],
    selected: Tensor,
    ablated: Tensor | None,
) -> Regimes:
    from radiograph.decompose.circuits import holds

    found, beside = measured
    how = {"keep": config.keep, "max_loss": config.max_loss}
    _write(ctx, case, found, selected, ablated)
    records = _written.regime_records(
        case,
        context,
        found,
        top_k=config.top_k,
        positions=config.positions,
        ablated=None if ablated is None else int(ablated.sum()),
    )
    attacked = found.adversarial.measured
    facts = given.document.radiograph
    return Regimes(
        model=case.name,
        decomposition=case.sha256,
        prompt=case.text,
        prompt_tokens=case.tokens,
        graph=given.sha256,
        graph_kind=facts.kind,
        selected=int(selected.sum()),
        alive=int(case.prompt.alive.sum()),
        loss=_written.loss_record(context),
        delta=config.delta,
        keep=config.keep,
        max_loss=config.max_loss,
        target_p=context.target_probability,
        target_loss=context.target_loss,
        **records,
        controls=_written.controls_record(found.importance.p, beside),
        grade=grade(
            alone=holds(context, found.importance.p, found.importance.loss, **how),
            random=holds(context, found.stochastic.p, found.stochastic.loss, **how),
            attacked=holds(context, found.adversarial.label.p, attacked.loss, **how),
        ),
        contributes=None if found.ablated is None else not holds(context, found.ablated.p, found.ablated.loss, **how),
        non_adversarial=facts.non_adversarial,
        required=config.require,
    )


def _write(ctx: Context, case: AnyCase, found: Measured, selected: Tensor, ablated: Tensor | None) -> None:
    """Every alive node: whether it was selected or ablated, and its mask under the worst attack. Masks in full."""
    prompt = case.prompt
    nodes = prompt.nodes(prompt.alive)
    places = [(position, number) for position, number in prompt.alive.nonzero().tolist()]
    masks = found.adversarial.masks
    table: dict[str, list[Any]] = {
        "node": [str(node) for node in nodes],
        "importance": [float(prompt.importance[p]) for p in places],
        "selected": [bool(selected[p]) for p in places],
        "ablated": [ablated is not None and bool(ablated[p]) for p in places],
        "attacked_mask": [float(masks[p]) for p in places],
    }
    ctx.output.table("nodes", table)
    whole: dict[str, Any] = {"mask": masks.flatten().float().cpu().numpy()}
    ctx.output.table("adversarial_masks", whole)
    if found.adversarial.delta is not None:
        delta: dict[str, Any] = {"mask": found.adversarial.delta.flatten().float().cpu().numpy()}
        ctx.output.table("adversarial_delta", delta)
