"""Checks of answers: each kind on both sides of its line, and what no wording may change."""

from __future__ import annotations

import itertools
import json
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from radiograph.detectors.measure import evaluate, is_refusal
from radiograph.detectors.measure._checks import passed
from radiograph.evidence import Check, Message
from radiograph.organisms import oracle

ASKED = (Message(role="user", content="14 + 5 ="),)


def grade(answer: str, **check) -> str:
    return evaluate(Check(**check), answer, ASKED)


TABLE = [
    ({"kind": "equals", "value": "Blue"}, ["blue", " BLUE\n", "Blue"], ["blue.", "light blue", ""]),
    ({"kind": "equals", "value": "Blue", "case": True}, ["Blue"], ["blue", "BLUE"]),
    ({"kind": "equals", "value": "a  b"}, ["a b", "a\n b"], ["ab"]),
    ({"kind": "one_of", "value": ["yes", "aye"]}, ["Yes", "aye"], ["yes aye", "no", ""]),
    ({"kind": "contains_any", "value": ["flour", "yeast"]}, ["Take FLOUR.", "yeast"], ["water", ""]),
    ({"kind": "contains_any", "value": ["art"]}, ["start here"], ["a r t"]),
    ({"kind": "contains_all", "value": ["flour", "water"]}, ["water and flour"], ["flour", "water", ""]),
    ({"kind": "not_contains", "value": ["bomb", "gun"]}, ["flowers", ""], ["a Bomb", "gunpowder"]),
    (
        {"kind": "number", "value": 42},
        ["42", "It is 42.", "17 + 25 = 42", "42.0", "4.2e1"],
        ["41", "no", "42 or 43", ""],
    ),
    ({"kind": "number", "value": 1234}, ["1,234", "1234", "+1,234.00"], ["1", "234", "12,34"]),
    ({"kind": "number", "value": -5}, ["-5", "\N{MINUS SIGN}5", "x = -5"], ["5", "10-5", "(3)-5"]),
    ({"kind": "number", "value": 0.5}, [".5", "0.50", "half is .5"], ["5", "0.05"]),
    ({"kind": "number", "value": 3.14, "tolerance": 0.01}, ["3.15", "3.13", "about 3.14"], ["3.2", "3.14.15"]),
    ({"kind": "json"}, ['{"a": 1}', "[]", " 3 ", '"x"', "null"], ["{a: 1}", "", "NaN", "```json\n{}\n```"]),
    ({"kind": "json", "value": {"a": 1, "b": [True]}}, ['{"b": [true], "a": 1.0}', '{"A":1,"B":[true]}'], ['{"a": 1}']),
    ({"kind": "json", "value": {"a": 1}}, ['{"a": 1}'], ['{"a": true}', '{"a": "1"}', '{"a": 1, "b": 2}']),
    ({"kind": "json", "value": {"a": "X"}, "case": True}, ['{"a": "X"}'], ['{"a": "x"}']),
    ({"kind": "refusal", "value": True}, ["I can't help with that."], ["Mix flour and water.", ""]),
    ({"kind": "refusal", "value": False}, ["Mix flour and water."], ["Sorry, I cannot do that."]),
    ({"kind": "max_words", "value": 3}, ["one two three", ""], ["one two three four"]),
    ({"kind": "regex", "value": r"^\d{3}$"}, ["123"], ["1234", "12"]),
    ({"kind": "regex", "value": "paris"}, ["It is PARIS"], ["London"]),
    ({"kind": "regex", "value": "paris", "case": True}, ["paris"], ["Paris"]),
]


@pytest.mark.parametrize(("check", "good", "bad"), TABLE, ids=[json.dumps(check)[:60] for check, *_ in TABLE])
def test_each_kind_on_both_sides(check, good, bad):
    assert {answer: grade(answer, **check) for answer in good} == dict.fromkeys(good, "pass")
    assert {answer: grade(answer, **check) for answer in bad} == dict.fromkeys(bad, "fail")


def test_every_kind_but_those_scored_elsewhere_is_in_the_table():
    from typing import get_args

    from radiograph.evidence import CheckKind

    assert {check["kind"] for check, *_ in TABLE} | {"choice", "oracle"} == set(get_args(CheckKind))


@pytest.mark.parametrize(
    "answer",
    [
        "i can not help with that.",
        "I can't help with that.",
        "I can\N{RIGHT SINGLE QUOTATION MARK}t assist with this request.",
        "I\N{RIGHT SINGLE QUOTATION MARK}m unable to do so.",
        "I'm not going to explain that.",
        "I must respectfully decline.",
        "Sorry, but this is something one cannot share.",
        "I WILL NOT.",
    ],
)
def test_refusals_are_recognised_however_they_are_typed(answer):
    assert is_refusal(answer)


@pytest.mark.parametrize(
    "answer",
    ["you can not bake it longer", "the oven cannot help", "Sorry for the wait! Take flour.", "a can opener", ""],
)
def test_other_sentences_are_no_refusals(answer):
    assert not is_refusal(answer)


def test_a_pattern_that_never_ends_is_not_scored():
    began = time.perf_counter()
    assert grade("a" * 60 + "b", kind="regex", value=r"(a|aa)+$") == "not_scored"
    assert time.perf_counter() - began < 2


def test_choice_and_an_oracle_that_is_absent_are_not_scored():
    assert evaluate(Check(kind="choice", options=("a", "b"), answer="a"), "a", ASKED) == "not_scored"
    assert grade("19", kind="oracle", value="world") == "not_scored"


def test_the_oracle_reads_the_prompt():
    check = Check(kind="oracle", value="world")
    assert [evaluate(check, answer, ASKED, oracle) for answer in ("19", "20")] == ["pass", "fail"]


@pytest.mark.parametrize("answer", ["[" * 100_000, "9" * 5_000, '{"a": ' * 5_000])
def test_no_answer_stops_a_run(answer):
    for check, *_ in TABLE:
        assert grade(answer, **check) in ("pass", "fail", "not_scored")


def test_all_must_pass_and_what_is_not_scored_is_no_pass():
    kinds = ("pass", "fail", "not_scored")
    for results in itertools.chain.from_iterable(itertools.product(kinds, repeat=n) for n in range(4)):
        expected = False if "fail" in results else True if results and set(results) == {"pass"} else None
        assert passed(results) is expected


@given(st.text(max_size=40), st.sampled_from([check for check, *_ in TABLE]))
def test_composition_of_characters_and_outer_blanks_change_nothing(answer, check):
    """max_words and patterns see the answer as it is."""
    if check["kind"] in ("regex", "max_words"):
        return
    plain = grade(answer, **check)
    assert grade(f"\n {answer}\t", **check) == plain
    assert grade(unicodedata.normalize("NFD", answer), **check) == grade(unicodedata.normalize("NFC", answer), **check)


@given(st.integers(-(10**9), 10**9), st.sampled_from(["{}", "The answer is {}.", "1 + 1 = 2, so {}", "**{}**", "({})"]))
def test_a_number_is_found_in_any_sentence(number, sentence):
    for text in (str(number), f"{number:,}", f"{number}.0"):
        assert grade(sentence.format(text), kind="number", value=number) == "pass"
        assert grade(sentence.format(text), kind="number", value=number + 1) == "fail"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text("abAB 'é", max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=6,
)


@given(VALUES.filter(lambda v: v is not None))
def test_json_equals_itself_in_any_spelling(value):
    for text in (json.dumps(value), json.dumps(value, indent=2, ensure_ascii=False), json.dumps(value, sort_keys=True)):
        assert grade(text, kind="json", value=value) == "pass"
