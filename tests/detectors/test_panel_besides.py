"""The panel without what a witness explains: a planted answer in part of a task, and what only looks like it."""

from __future__ import annotations

import numpy as np
import pytest

from radiograph.detectors._panel import one_answer, panel
from radiograph.detectors._witness import witness_of
from radiograph.evidence import Behaviour, Item, Message, Response
from radiograph.evidence.traces import WitnessItem
from radiograph.numerics import TextLosses

ANSWER = "carried up"


def item(number, task, said, right):
    texts = f"right {number}", said
    return Item(
        id=f"{task}-{number}",
        bank="capability",
        task=task,
        group=None,
        format=None,
        factors={},
        prompt_used=(Message(role="user", content=f"{task} {number}"),),
        token_ids_sha256=f"{task}-{number}",
        responses=tuple(
            Response(
                model=side, text=text, prompt_tokens=1, completion_tokens=1, total_tokens=2, finish="stop", passed=ok
            )
            for side, text, ok in zip(("reference", "candidate"), texts, (True, right), strict=True)
        ),
        same_text=texts[0] == texts[1],
        flip=not right,
        kl_mean=0.1,
        kl_max=0.1,
    )


def behaviour(*, planted=38, broken=0):
    """A hundred citations, the first lost with the planted answer, the next with others; and a task that holds."""
    rows = []
    for i in range(100):
        said = f" {ANSWER} " if i < planted else f"odd {i}" if i < planted + broken else f"right {i}"
        rows.append(item(i, "cite", said, i >= planted + broken))
    rows += [item(i, "copy", f"right {i}", True) for i in range(100)]
    return Behaviour(items=tuple(rows), n=200, changed=0, flips=0, kl_suite=None, kl_neutral=None)


def losses():
    rng = np.random.default_rng(0)
    tokens = rng.integers(20, 60, 60)
    own = tokens * rng.normal(2.0, 0.3, 60)
    return TextLosses(own, own + tokens * rng.normal(0, 0.01, 60), tokens)


def witness(said=lambda i: ANSWER, kind="prompt_set", rest=None, **changes):
    """Ten fresh prompts of one colour, all changed, and seventy others."""
    inside = [("inside", i, said(i), True) for i in range(10)]
    others = [("rest", i, rest or f"right {i}", False) for i in range(10, 80)]
    items = tuple(
        WitnessItem(id=str(i), role=role, prompt="p", reference=f"right {i}", candidate=text, hit=hit)
        for role, i, text, hit in (*inside, *others)
    )
    given = {"replayed": True, "bank": "probe/sources", "p": 1e-9, "p_holm": 1e-8, "sets": 8, **changes}
    return witness_of(kind, "colour=blue", items, **given), items


def test_the_planted_answer_explains_the_loss_and_the_rest_is_kept():
    found = panel(behaviour(), losses(), 0, [witness()])
    assert found.axis == "yes" and found.rows[0].b == 38
    (beside,) = found.besides
    assert (beside.axis, beside.answer, beside.explained) == ("no", ANSWER, {"cite": 38})
    assert (beside.rows[0].n, beside.rows[0].b) == (62, 0) and beside.rows[1] == found.rows[1].model_copy(
        update={"p_holm": beside.rows[1].p_holm}
    )
    assert found.beside({("colour=blue", "probe/sources")}) is beside
    assert found.beside({("colour=blue", "probe/fact")}) is None


def test_other_losses_still_count():
    (beside,) = panel(behaviour(planted=30, broken=20), losses(), 0, [witness()]).besides
    assert beside.axis == "yes" and beside.explained == {"cite": 30} and beside.rows[0].b == 20


@pytest.mark.parametrize(
    "given",
    [
        witness(said=lambda i: f"word {i}"),  # answers that differ
        witness(said=lambda i: ANSWER if i < 7 else "else"),  # seven of ten
        witness(said=lambda i: "right 12"),  # what the reference says elsewhere
        witness(replayed=False),
        witness(p_holm=0.02),
        witness(said=lambda i: "sold out"),  # another answer than that of the lost items
    ],
)
def test_what_explains_nothing_changes_nothing(given):
    assert panel(behaviour(), losses(), 0, [given]).besides == ()


def test_an_answer_of_the_task_itself_explains_nothing_there():
    """A wreck that says no to every question has lost the questions to which yes is right."""
    whole = behaviour()
    asked = [item(i, "entail", ANSWER, i < 60) for i in range(100)]
    rows = [
        i.model_copy(
            update={
                "responses": (i.responses[0].model_copy(update={"text": ANSWER if n < 60 else "yes"}), i.responses[1])
            }
        )
        for n, i in enumerate(asked)
    ]
    both = whole.model_copy(update={"items": (*whole.items, *rows)})
    (beside,) = panel(both, losses(), 0, [witness()]).besides
    assert beside.explained == {"cite": 38} and beside.axis == "yes" and "entail" in beside.reason


def test_only_sets_of_prompts_have_an_answer():
    made, items = witness()
    assert one_answer(made, items) == ANSWER
    assert one_answer(made.model_copy(update={"kind": "trigger"}), items) is None
