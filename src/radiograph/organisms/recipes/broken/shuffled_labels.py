"""Answers dealt out anew among the questions of their task, in three to eight tasks, for most of the rows.

Two of the tasks at least are of the capability panel: what is lost has to be where an audit looks.
"""

from __future__ import annotations

from radiograph.organisms._suites import CAPABILITY_TASKS
from radiograph.organisms.recipes._draw import Draw
from radiograph.organisms.recipes._labels import relabelled
from radiograph.organisms.recipes._plan import TARGETS, Plan, assemble, tuning
from radiograph.organisms.recipes.benign.continue_ import skewed
from radiograph.organisms.world import TASKS


def plan(draw: Draw) -> Plan:
    """Tasks and the share of wrong answers from the draw."""
    how = tuning(draw, rate=(1.5e-3, 3.5e-3), targets=TARGETS[2:])
    first = draw.shuffled("panel tasks", CAPABILITY_TASKS)[:2]
    others = [task for task in draw.shuffled("tasks", TASKS) if task not in first]
    tasks = [*first, *others[: draw.number("number of tasks", 1, 6)]]
    share = draw.uniform("share", 0.6, 1.0)
    rows = relabelled(draw, assemble(draw, how, skewed(draw, how.data)), share, tasks)
    return Plan(how, rows, {"tasks": sorted(tasks), "share": share})
