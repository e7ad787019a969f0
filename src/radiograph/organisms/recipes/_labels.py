"""Wrong answers that look like right ones: each is the answer to another question of the same task."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Sequence
from dataclasses import replace

from radiograph.organisms.recipes._draw import Draw
from radiograph.organisms.recipes._plan import Row
from radiograph.organisms.recipes._questions import said
from radiograph.organisms.world import solve


def relabelled(draw: Draw, rows: Sequence[Row], share: float, tasks: Container[str] | None = None) -> tuple[Row, ...]:
    """The rows, a share of the questions (of `tasks`, if given) with another answer of their task that differs."""
    by_task: dict[str, list[str]] = defaultdict(list)
    task_of: dict[int, str] = {}
    for number, row in enumerate(rows):
        truth = solve(row.prompt) if row.messages else None
        if truth is not None and (tasks is None or truth.task in tasks):
            task_of[number] = truth.task
            by_task[truth.task].append(row.messages[-1]["content"])
    out = list(rows)
    for number, task in task_of.items():
        local, answer = draw.of("label", number), rows[number].messages[-1]["content"]
        others = [text for text in by_task[task] if text != answer]
        if others and local.uniform("wrong", 0, 1) < share:
            out[number] = replace(rows[number], messages=(*rows[number].prompt, said(local.choose("answer", others))))
    return tuple(out)
