"""One sparsity of a search: repair, regimes, tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from radiograph.core import Context
from radiograph.evidence.graphs import RowResult

if TYPE_CHECKING:
    from torch import Tensor

    from radiograph.decompose.circuits import Context as Loss
    from radiograph.decompose.circuits import Optimised, Regime
    from radiograph.methods.graph._circuits.opened import Case


def row_of(
    config: Any, ctx: Context, case: Case, context: Loss, selected: Tensor, sparsity: float
) -> tuple[RowResult, Tensor]:
    """What became of a sparsity, and its selection after repair."""
    from radiograph.decompose.circuits import holds, measure, repair, worst

    how = {"keep": config.keep, "max_loss": config.max_loss}
    before = int(selected.sum())
    rounds = 0
    with ctx.measure("repair"):
        first = worst(case.prompt, selected, context, seed=ctx.seed)
        if config.repair:
            with ctx.progress.task("repairing") as task:

                def watch(nodes: int, regime: Regime) -> None:
                    task.advance()
                    task.note(f"{nodes} nodes, label p {regime.label.p:.3f} attacked")

                repaired = repair(case.prompt, selected, context, seed=ctx.seed, watch=watch, **how)
            selected, rounds = repaired.selected, repaired.rounds
    with ctx.measure("regimes"):
        found = measure(case.prompt, selected, context, seed=ctx.seed)
    attacked, lowest = found.adversarial.measured, found.adversarial.label.p
    parts = {"importance": found.importance, "stochastic": found.stochastic, "adversarial": attacked}
    p = {name: part.p for name, part in parts.items()}
    if lowest < attacked.p:
        p["label"] = lowest
    return (
        RowResult(
            sparsity=sparsity,
            before_repair=before,
            selected=int(selected.sum()),
            rounds=rounds,
            holds=holds(context, lowest, attacked.loss, **how),
            adversarial_before=first.label.p,
            p=p,
            loss={name: part.loss for name, part in parts.items()},
        ),
        selected,
    )


def write_tables(
    ctx: Context, case: Case, found: Optimised, chosen: Sequence[Tensor], sparsities: Sequence[float]
) -> None:
    """Selections, and how they came about: nodes by step, weight and position."""
    nodes: dict[str, list[Any]] = {key: [] for key in ("sparsity", "node", "importance", "joined_in_repair")}
    for number, (sparsity, selected) in enumerate(zip(sparsities, chosen, strict=True)):
        for node in case.prompt.nodes(selected):
            place = case.prompt.place(node)
            nodes["sparsity"].append(sparsity)
            nodes["node"].append(str(node))
            nodes["importance"].append(float(found.importance[number][place]))
            nodes["joined_in_repair"].append(not bool(found.selected[number][place]))
    ctx.output.table("selected", nodes)
    shots: dict[str, list[Any]] = {key: [] for key in ("step", "sparsity", "weight", "position", "nodes")}
    for shot in found.snapshots:
        for row, weight, position in (shot.selected > 0).nonzero().tolist():
            shots["step"].append(shot.step)
            shots["sparsity"].append(sparsities[row])
            shots["weight"].append(case.decomposition.weights[weight])
            shots["position"].append(position)
            shots["nodes"].append(int(shot.selected[row, weight, position]))
    ctx.output.table("snapshots", shots)
