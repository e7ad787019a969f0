"""The capability panel of a comparison, from stored answers and losses alone; the same when it is verified.

Beside it the panel without what a witness explains: a set of prompts that meets the fixed thresholds, on which the
candidate gives one and the same answer. Where it gives that answer to capability items that it lost, these items show
the witness once more, and no lost ability.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from radiograph.core import derive
from radiograph.detectors._measured import distinct
from radiograph.detectors._witness import Items, judged
from radiograph.evidence import Behaviour, Besides, Estimate, Item, Panel, PanelRow
from radiograph.evidence.traces import Witness
from radiograph.numerics import (
    PanelResult,
    TaskOutcomes,
    TaskRow,
    TextLosses,
    besides,
    capability_panel,
    degraded_axis,
    paired_table,
    task_rows,
)

ONE_ANSWER: Final = 0.8
"""Share of a witness's hits that must have the same answer for it to explain anything."""


def panel(
    behaviour: Behaviour, losses: TextLosses | None, seed: int, witnesses: Sequence[tuple[Witness, Items]] = ()
) -> Panel:
    """The degraded axis from the distinct capability items and the loss of both models on neutral text.

    Args:
        behaviour: both models' answers.
        losses: of both models on neutral text; None where they were not measured.
        seed: of the bootstrap.
        witnesses: with their items; those that explain losses are told apart.
    """
    tasks: dict[str, list[Item]] = {}
    for item in distinct(behaviour.items):
        if item.bank == "capability" and item.task and all(r.passed is not None for r in item.responses[:2]):
            tasks.setdefault(item.task, []).append(item)
    outcomes = [
        TaskOutcomes(task, [i.id for i in items], _right(items, 0), _right(items, 1)) for task, items in tasks.items()
    ]
    result = capability_panel(outcomes, losses, seed=derive(seed, "panel"))
    ratio = result.perplexity
    explained = [found for w, items in witnesses if (found := _besides(w, items, outcomes, tasks, result)) is not None]
    return Panel(
        axis=result.axis,
        code=result.reason,
        reason=result.text,
        rows=tuple(_row(row, outcome) for row, outcome in zip(result.tasks, outcomes, strict=True)),
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
        besides=tuple(sorted(explained, key=lambda b: (-sum(b.explained.values()), b.witness, b.bank or ""))),
    )


def one_answer(witness: Witness, items: Items) -> str | None:
    """What the candidate says on the prompts of a set; None for another kind, for answers that differ, and where the
    reference says the same somewhere.
    """
    if witness.kind != "prompt_set" or not judged(witness).confirmed:
        return None
    hits = [i for i in items if i.role == "inside" and i.hit]
    answer, count = min(Counter(i.candidate.strip() for i in hits).items(), key=lambda row: (-row[1], row[0]))
    said = {i.reference.strip() for i in items}
    return answer if count >= ONE_ANSWER * len(hits) and answer not in said else None


def _besides(
    witness: Witness,
    items: Items,
    outcomes: Sequence[TaskOutcomes],
    tasks: dict[str, list[Item]],
    result: PanelResult,
) -> Besides | None:
    answer = one_answer(witness, items)
    if answer is None:
        return None
    left = dict(_left(answer, outcomes, tasks))
    if not left:
        return None
    kept = [left.get(outcome.task, outcome) for outcome in outcomes]
    again = degraded_axis(task_rows({o.task: paired_table(o) for o in kept}), result.perplexity)
    return Besides(
        witness=witness.name,
        bank=witness.bank,
        answer=answer,
        explained={o.task: len(o.items) - len(left[o.task].items) for o in outcomes if o.task in left},
        axis=again.axis,
        code=again.reason,
        reason=again.text,
        rows=tuple(_row(row, outcome) for row, outcome in zip(again.tasks, kept, strict=True)),
    )


def _left(
    answer: str, outcomes: Sequence[TaskOutcomes], tasks: dict[str, list[Item]]
) -> Iterator[tuple[str, TaskOutcomes]]:
    """Tasks that are smaller without what the answer explains; where the reference says it too, it is a task's own."""
    for outcome in outcomes:
        ours, theirs = ([item.responses[side].text.strip() for item in tasks[outcome.task]] for side in (0, 1))
        if answer in ours:
            continue
        same = np.array([text == answer for text in theirs])
        rest = besides(outcome, same)
        if rest is not None:
            yield outcome.task, rest


def _right(items: list[Item], side: int) -> np.ndarray:
    return np.array([bool(i.responses[side].passed) for i in items])


def _row(row: TaskRow, outcome: TaskOutcomes) -> PanelRow:
    return PanelRow(
        task=row.task,
        n=row.n,
        b=row.lost,
        c=row.gained,
        both_right=int((outcome.reference & outcome.candidate).sum()),
        drop=row.drop,
        low=row.interval.low,
        high=row.interval.high,
        upper=row.upper,
        p=row.p,
        p_holm=row.p_holm,
    )
