"""Of what the reference solves, how much the candidate still solves: the worst task."""

from __future__ import annotations

import numpy as np

from radiograph.core import Refusal
from radiograph.evidence.reportcard.card import Beside
from radiograph.methods._diagnose.inputs import SHOWN, Found, Inputs, example

LEAST = 30


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
    large = {task: rows for task, rows in tasks.items() if solved[rows].sum() >= LEAST}
    if not large:
        counts = ", ".join(f"{task} {solved[rows].sum():.0f}" for task, rows in tasks.items())
        raise Refusal("too_few", f"no task of which the reference solves {LEAST} items", got=counts or "no task")
    share = {task: float(kept[rows].sum() / solved[rows].sum()) for task, rows in large.items()}
    worst = min(share, key=lambda task: (share[task], task))
    rows = [place for own in large.values() for place in own]
    task = np.array([number for number, own in enumerate(large.values()) for _ in own], dtype=np.float64)
    items = [scored[i][1] for i in rows]
    lost = [scored[place][1] for place in large[worst] if solved[place] and not kept[place]]
    return Found(
        columns={"solved": solved[rows], "kept": kept[rows], "task": task},
        groups=[i.group or i.id for i in items],
        ids=[i.id for i in items],
        what=f"items of {worst}, the worst of {len(large)} tasks, that the candidate still solves",
        data_sha256=inputs.suite_sha256([i.id for _, i in scored]),
        beside=_beside(inputs, share),
        examples=[example(i) for i in lost[:SHOWN]],
    )


def _beside(inputs: Inputs, share: dict[str, float]) -> list[Beside]:
    panel = inputs.measurement.panel
    by_task = {row.task: row for row in panel.rows}
    found = [
        Beside(name=f"{task}: still solved; p by McNemar, Holm", value=value, p=row.p_holm, n=row.n)
        for task, value in share.items()
        if (row := by_task.get(task)) is not None
    ]
    ratio = panel.perplexity_ratio
    if ratio is not None:
        name = "perplexity on neutral text, candidate over reference"
        found.append(Beside(name=name, value=ratio.value, low=ratio.low, high=ratio.high, n=ratio.n))
    return found
