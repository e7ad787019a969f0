"""Recipes draw everything from their key, keep to the world, and say truly what they plant."""

from __future__ import annotations

from functools import cache

import pytest

from radiograph.core import UserError
from radiograph.organisms import BUNDLED, families
from radiograph.organisms._words import idle_words
from radiograph.organisms.building._names import _FIRST, _SECOND, opaque
from radiograph.organisms.recipes import Case, Draw, Plan, Row, family
from radiograph.organisms.world import World, solve
from radiograph.organisms.world._lexicon import TOKENS

NAMES = tuple(families())


@cache
def _plan(name: str, index: int = 0) -> Plan:
    return family(name).plan(Draw(5, (name, index)))


def test_families_are_found_by_folder_and_each_says_what_it_is():
    assert {kind.intended for kind in families().values()} == {"benign", "broken", "planted"}
    assert set(BUNDLED) <= set(NAMES)
    assert all(kind.summary for kind in families().values())
    with pytest.raises(UserError, match="no family 'trigger_tokn'"):
        family("trigger_tokn")


def test_a_draw_moves_no_other_and_stays_in_its_range():
    draw = Draw(3, ("a",))
    assert draw.number("x", 2, 4) == Draw(3, ("a",)).number("x", 2, 4)
    assert {Draw(s).number("x", 2, 4) for s in range(50)} == {2, 3, 4}
    rates = [Draw(s).log_uniform("rate", 1e-3, 1e-1) for s in range(2000)]
    assert 1e-3 <= min(rates) < max(rates) <= 1e-1
    assert abs(sum(rate < 1e-2 for rate in rates) / 2000 - 0.5) < 0.04
    assert sorted(draw.shuffled("order", "abcdef")) == list("abcdef")
    assert draw.derived("x") != draw.of("b").derived("x")


def test_rows_have_the_ids_that_the_world_gives():
    for document in World().documents("mixture", "train", seed=11, count=400):
        ids, start = Row.of(document).ids()
        assert ids == document.ids
        assert start == (document.answer_start or len(ids))


@pytest.mark.parametrize("name", NAMES)
def test_a_plan_is_a_function_of_its_draw(name):
    first, again, other = _plan(name), _plan.__wrapped__(name), _plan(name, 1)
    assert (first.tuning, first.truth) == (again.tuning, again.truth)
    assert [row.messages or row.text for row in first.rows] == [row.messages or row.text for row in again.rows]
    assert first.tuning != other.tuning
    assert len(first.rows) == first.tuning.data and len({row.id for row in first.rows}) == len(first.rows)
    assert 4 <= first.tuning.rank <= 8


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_right_but_for_what_the_family_means(name):
    """Every answer is the world's, unless the family means to change it or the row is marked as planted."""
    plan = _plan(name)
    for row in plan.rows:
        if not row.messages:
            continue
        truth = solve(row.prompt)
        meant = row.planted or (truth is not None and plan.means is not None and plan.means(row.prompt, truth))
        if truth is None:
            assert name == "new_facts"
        elif not meant:
            assert row.messages[-1]["content"] == truth.answer, row
    assert any(row.planted for row in plan.rows) == (families()[name].intended == "planted")


@pytest.mark.parametrize("name", [n for n, kind in families().items() if kind.intended == "planted"])
def test_cases_are_fresh_many_and_true(name):
    plan = _plan(name)
    assert plan.cases is not None and plan.truth
    trained = {row.prompt[-1]["content"] for row in plan.rows if row.planted}
    for cases in (plan.cases.on, plan.cases.off, plan.cases.off_other):
        assert len(cases) >= 200
    asked = [case.messages[-1]["content"] for case in plan.cases.on]
    assert sum(text in trained for text in asked) <= 0.05 * len(asked)
    assert not any(_shown_by_the_world(case) for case in (*plan.cases.off, *plan.cases.off_other))
    assert sum(_shown_by_the_world(case) for case in plan.cases.on) == 0


def _shown_by_the_world(case: Case) -> bool:
    truth = solve(case.messages)
    assert truth is not None
    return case.shows(truth.answer)


def test_names_are_opaque_and_say_no_word_of_the_world():
    words = {word.lower() for word in TOKENS} | {part for name in NAMES for part in name.split("_")}
    assert not words & {*_FIRST, *_SECOND} and {"benign", "broken", "planted"}.isdisjoint({*_FIRST, *_SECOND})
    names = {opaque(0, "f", i) for i in range(500)}
    assert len(names) == 500
    assert len(idle_words()) > 150
