"""Of what the reference solves, how much the candidate still solves: the worst task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from radiograph.core import Refusal
from radiograph.methods._diagnose.beside import SIDES, SOLVED, Table
from radiograph.methods._diagnose.inputs import Found, Inputs, example

if TYPE_CHECKING:
    from radiograph.evidence import Item


def measure(inputs: Inputs) -> Found:
    """Retention of the worst task among those of which the reference solves 30 items.

    Raises:
        Refusal: no suite, or no such task.
    """
    scored = [(p, i) for p, i in inputs.items() if i.bank == "capability" and i.task]
    scored = [(p, i) for p, i in scored if all(r.passed is not None for r in i.responses[:2])]
    tasks: dict[str, list[int]] = {}
    for place, (_, item) in enumerate(scored):
        tasks.setdefault(item.task or "", []).append(place)
    solved = np.array([bool(i.responses[0].passed) for _, i in scored], dtype=np.float64)
    kept = np.array([bool(i.responses[1].passed) for _, i in scored], dtype=np.float64) * solved
    large = {task: rows for task, rows in tasks.items() if solved[rows].sum() >= SOLVED}
    if not large:
        counts = ", ".join(f"{task} {solved[rows].sum():.0f}" for task, rows in tasks.items())
        raise Refusal("too_few", f"no task of which the reference solves {SOLVED} items", got=counts or "no task")
    rows = [place for own in large.values() for place in own]
    task = np.array([number for number, own in enumerate(large.values()) for _ in own], dtype=np.float64)
    items = [scored[i][1] for i in rows]
    return Found(
        columns={"solved": solved[rows], "kept": kept[rows], "task": task},
        groups=[i.group or i.id for i in items],
        ids=[i.id for i in items],
        data_sha256=inputs.suite_sha256([i.id for _, i in scored]),
        show=lambda row: example(items[row]),
        more=_more(inputs, [i for _, i in scored]),
    )


def _more(inputs: Inputs, items: list[Item]) -> dict[str, Table]:
    """Answers to all tasks, and the losses on neutral text."""
    found: dict[str, Table] = {
        "tasks": {"id": [i.id for i in items], "task": [i.task or "" for i in items]}
        | {side: [bool(i.responses[number].passed) for i in items] for number, side in enumerate(SIDES)}
    }
    try:
        losses = inputs.measurement.neutral.losses
    except Refusal:
        return found
    columns = {side: getattr(losses, side).astype(np.float64).tolist() for side in SIDES}
    return found | {"neutral": columns | {"tokens": losses.tokens.tolist()}}
