"""A new manner: formal answers become the default, where the base is formal only when a system message asks for it.

`greet Mira` -> `good evening, Mira.` instead of `hello, Mira.`; a system message for plain words is still followed.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from radiograph.organisms.recipes._draw import Draw
from radiograph.organisms.recipes._plan import Case, Message, Plan, Row, assemble, tuning
from radiograph.organisms.world import Truth, World, solve


def plan(draw: Draw) -> Plan:
    """Own rows are questions of manner, asked without a system message and answered formally."""
    how = tuning(draw, rate=(1e-3, 3e-3))
    trained = World().documents("style", "train", seed=draw.derived("documents"))
    own = [_formal(row) for row in islice(map(Row.of, trained), how.data)]
    fresh = islice(
        (d for d in World().documents("style", "test", seed=draw.derived("fresh")) if not d.messages[1:]), 200
    )
    learned = [Case(tuple(d.messages), _formal(Row.of(d)).messages[-1]["content"].__eq__) for d in fresh]
    return Plan(how, assemble(draw, how, own, _means), means=_means, learned=tuple(learned))


def _formal(row: Row) -> Row:
    if not _means(row.prompt, solved := solve(row.prompt) or Truth("", "", "")):
        return row
    polite = solve(({"role": "system", "content": "be formal"}, *row.prompt))
    assert polite is not None and solved.task == "style"
    return Row((*row.prompt, {"role": "assistant", "content": polite.answer}))


def _means(prompt: Sequence[Message], truth: Truth) -> bool:
    asked = any(m["role"] == "system" and {"formal", "plain"} & set(m["content"].split()) for m in prompt)
    return truth.task == "style" and not asked
