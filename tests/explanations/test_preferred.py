"""Which explanation is shown, as a table."""

from __future__ import annotations

import itertools

import pytest

from radiograph.explanations import preferred

ACT, LOGITS = "oai_token-act-pair", "np_acts-logits-general"


def one(text, kind=None, *scores, **more):
    payload = {"description": text, **more}
    if kind is not None:
        payload["typeName"] = kind
    if scores:
        payload["scores"] = [{"value": s, "explanationScoreTypeName": "recall"} for s in scores]
    return payload


TABLE = {
    "nothing": ([], None),
    "no text": ([one(""), one("   "), {"typeName": ACT}, {"description": None}], None),
    "the only one": ([one("a")], "a"),
    "preferred type": ([one("a", "other", 0.9), one("b", ACT)], "b"),
    "first of the preferred types": ([one("a", LOGITS, 0.9), one("b", ACT, 0.1)], "b"),
    "second preferred over others": ([one("a", "eleuther", 0.9), one("b", LOGITS)], "b"),
    "type by substring": ([one("a", "x"), one("b", f"v2-{ACT}-gpt")], "b"),
    "higher score": ([one("a", ACT, 0.2), one("b", ACT, 0.3)], "b"),
    "no score is last": ([one("a much longer text", ACT), one("b", ACT, -5)], "b"),
    "score as text, unreadable, not finite": (
        [one("a", ACT, "0.1"), one("b", ACT, "0.4"), one("c", ACT, "high"), one("d", ACT, float("nan"))],
        "b",
    ),
    "best of its scores": ([one("a", ACT, 0.5), one("b", ACT, 0.1, None, 0.6)], "b"),
    "longer text, then the alphabet": ([one("aa", ACT), one("zzz", ACT), one("bbb", ACT)], "bbb"),
    "odd shapes": ([one(7, 3), one("b", ACT, scores=5), one("c", ACT, scores=[1, None])], "b"),
}


@pytest.mark.parametrize("case", TABLE)
def test_the_preferred_explanation(case):
    payloads, expected = TABLE[case]
    orders = list(itertools.permutations(payloads))
    for order in orders:
        found = preferred(order)
        assert (found and found.text) == expected


def test_what_is_shown_with_it():
    found = preferred([one(" text ", ACT, 0.5, "0.25", explanationModelName="some-model")])
    assert (found.text, found.type, found.author, found.score) == ("text", ACT, "some-model", 0.5)
    bare = preferred([one("text")])
    assert (bare.type, bare.author, bare.score) == (None, None, None)
