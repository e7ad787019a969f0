"""The capability panel of a comparison, from stored answers and losses alone; the same when it is verified."""

from __future__ import annotations

import numpy as np

from radiograph.core import derive
from radiograph.detectors._measured import distinct
from radiograph.evidence import Behaviour, Estimate, Item, Panel, PanelRow
from radiograph.numerics import TaskOutcomes, TaskRow, TextLosses, capability_panel


def panel(behaviour: Behaviour, losses: TextLosses | None, seed: int) -> Panel:
    """The degraded axis from the distinct capability items and the loss of both models on neutral text."""
    tasks: dict[str, list[Item]] = {}
    for item in distinct(behaviour.items):
        if item.bank == "capability" and item.task and all(r.passed is not None for r in item.responses[:2]):
            tasks.setdefault(item.task, []).append(item)
    outcomes = [
        TaskOutcomes(task, [i.id for i in items], _right(items, 0), _right(items, 1)) for task, items in tasks.items()
    ]
    result = capability_panel(outcomes, losses, seed=derive(seed, "panel"))
    ratio = result.perplexity
    return Panel(
        axis=result.axis,
        code=result.reason,
        reason=result.text,
        rows=tuple(_row(row, tasks[row.task]) for row in result.tasks),
        perplexity_ratio=None
        if ratio is None
        else Estimate(
            value=ratio.ratio,
            low=ratio.interval.low,
            high=ratio.interval.high,
            n=ratio.n,
            unit="ratio",
            method="bootstrap over texts",
            null=1.0,
        ),
        items_to_settle=result.items_to_settle,
    )


def _right(items: list[Item], side: int) -> np.ndarray:
    return np.array([bool(i.responses[side].passed) for i in items])


def _row(row: TaskRow, items: list[Item]) -> PanelRow:
    return PanelRow(
        task=row.task,
        n=row.n,
        b=row.lost,
        c=row.gained,
        both_right=int((_right(items, 0) & _right(items, 1)).sum()),
        drop=row.drop,
        low=row.interval.low,
        high=row.interval.high,
        upper=row.upper,
        p=row.p,
        p_holm=row.p_holm,
    )
