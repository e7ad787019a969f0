"""A stored set of prompts and the stored answers: what one says the other must say too."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from radiograph.detectors._panel import panel
from radiograph.detectors._recompute import _sets
from radiograph.detectors._sets import halves, scored, set_items, witnessed_contrasts
from radiograph.detectors._witness import witness_of, witness_table, wrong
from radiograph.evidence import Behaviour, Item, Message, Response
from radiograph.numerics.traces.witness import MIN_FRESH

BANK, NAME = "capability/cite", "colour=blue"


def item(number):
    """Every second citation is blue; the blue ones are lost, half of them with one answer."""
    blue = number % 2 == 0
    said = ("carried up" if number % 4 == 0 else f"odd {number}") if blue else f"right {number}"
    texts = (("reference", f"right {number}", True), ("candidate", said, not blue))
    return Item(
        id=f"cite-{number}",
        bank="capability",
        task="cite",
        group=None,
        format=None,
        factors={"colour": "blue" if blue else "red"},
        prompt_used=(Message(role="user", content=f"cite {number}"),),
        token_ids_sha256=f"{number}",
        responses=tuple(
            Response(model=m, text=t, prompt_tokens=1, completion_tokens=1, total_tokens=2, finish="stop", passed=ok)
            for m, t, ok in texts
        ),
        same_text=not blue,
        flip=blue,
        kl_mean=0.1,
        kl_max=0.1,
    )


@pytest.fixture(scope="module")
def measured():
    items = tuple(item(i) for i in range(160))
    behaviour = Behaviour(items=items, n=160, changed=80, flips=80, kl_suite=None, kl_neutral=None)
    half = halves(scored(behaviour))[1]
    rows = witnessed_contrasts(half, MIN_FRESH["prompt_set"]).rows
    row = next(r for r in rows if r.name == NAME)
    own = set_items(half, NAME, BANK)
    given = {"p": row.p, "p_holm": row.p_holm, "sets": len(rows)}
    witness = witness_of("prompt_set", NAME, own, replayed=True, bank=BANK, **given)
    assert witness.confirmed
    return behaviour, witness, own


def found(measured, items):
    behaviour, witness, _ = measured
    table = witness_table([items])
    assert wrong([witness], table) == []  # the counts alone do not show it
    return list(_sets(SimpleNamespace(audit=SimpleNamespace(behaviour=behaviour)), [witness], table))


def test_what_was_measured_follows(measured):
    assert found(measured, measured[2]) == []


def test_an_answer_that_was_not_given_explains_no_loss(measured):
    behaviour, witness, own = measured
    assert panel(behaviour, None, 0, [(witness, own)]).besides == ()
    forged = [i.model_copy(update={"candidate": "carried up"}) if i.hit else i for i in own]
    (beside,) = panel(behaviour, None, 0, [(witness, forged)]).besides
    assert beside.explained == {"cite": 40}
    (said,) = found(measured, forged)
    assert said.startswith("/witnesses/found/0: its items in tables/witness.parquet")


def test_reference_and_prompt_are_those_of_the_answers_too(measured):
    for name in ("reference", "prompt"):
        other = [measured[2][0].model_copy(update={name: "another"}), *measured[2][1:]]
        assert len(found(measured, other)) == 1
