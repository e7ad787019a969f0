"""Scores follow from answers alone; nobody is helped by what another feature is called; failures are no scores."""

from __future__ import annotations

import json

import pytest

from chatting import Fault, chatting
from radiograph.core import Silent
from radiograph.explanations import RESERVE, Windowed, judging, parts
from radiograph.store.chat import Answer, Batch, ChatClient, ChatSettings, Endpoint

from .make import judge, material

WORDS = ["fires on “km”", "fires after “five” and “seven”", "fires on “red”", None]
SCORERS = ("detection", "fuzzing", "simulation_top", "simulation_random")


@pytest.fixture(scope="module")
def judged():
    given = material()
    reserved = given.take(parts(given.passages.groups, 0) == RESERVE).choose([0, 1, 2, 3])
    windowed = Windowed(reserved, 8)
    return judging.Judged(windowed, windowed.typical, WORDS, (0, 1, 2))


def ask(judged, script, names=judging.JUDGED, **settings):
    settings = {"retries": 0, "first_wait": 0.0, "concurrency": 1, **settings}
    with chatting(script) as server:
        return judging.ask_judges(
            judged, names, ChatClient(Endpoint.at(server.url, "m"), ChatSettings(**settings)), Silent()
        )


class Direct:
    """A client that asks the judge without a wire: hundreds of questions."""

    def ask_all(self, asks, *, tolerated=None, progress=None):
        texts = [judge({"messages": list(ask.messages)}, 0) for ask in asks]
        return Batch(tuple(Answer(a.read(t), t, False) for a, t in zip(asks, texts, strict=True)), None)


def code_of(answers, scorer):
    return judging.code_of(answers.columns, scorer, None if answers.stopped is None else answers.stopped.code)


def scores(answers, scorer):
    listed = [(n, f"f#{n}") for n in range(4)]
    return judging.scores_of(answers.columns, scorer, listed, code=code_of(answers, scorer))


@pytest.fixture(scope="module")
def answers(judged):
    return judging.ask_judges(judged, judging.JUDGED, Direct(), Silent())


def test_a_right_explanation_is_worth_its_lift(answers):
    found = {name: scores(answers, name) for name in SCORERS}
    km = {name: next(s for s in own if s.feature == 0) for name, own in found.items()}
    assert km["detection"].value == 1 and km["fuzzing"].value == 1
    assert km["detection"].empty == 0.5 and km["detection"].n >= 20
    assert km["detection"].lift > 0.3 and km["fuzzing"].lift > 0.3
    assert km["simulation_top"].value > 0.9 and km["simulation_top"].empty == 0
    assert km["detection"].spread == 0 and km["detection"].low < 1
    after = next(s for s in found["detection"] if s.feature == 1)
    assert 0.5 < after.value < 1, "the word before is in the text, and sometimes ends its window"
    assert {s.feature for s in found["detection"]} == {0, 1, 2}, "a feature without words is not asked about"
    for name, own in found.items():
        summary = judging.summary_of(name, own, "m", questions=1, failed=0, code=None, seed=0)
        lifts = [s.lift for s in own if s.lift is not None]
        assert summary.lift.value == pytest.approx(sum(lifts) / len(lifts)) and summary.lift.n == len(lifts)
        assert summary.chance == (0.5 if name in ("detection", "fuzzing") else 0.0)


def test_contexts_are_the_same_whatever_is_explained(answers):
    by_whose = {}
    for feature, scorer, seed, whose, item in zip(
        *(answers.columns[name] for name in ("feature", "scorer", "seed", "whose", "item")), strict=True
    ):
        by_whose.setdefault((feature, scorer, seed), {}).setdefault(whose, []).append(item)
    for lists in by_whose.values():
        assert lists["own"] == lists["other"] == lists["empty"]
    detection = [v["own"] for (f, s, _), v in by_whose.items() if (f, s) == (0, "detection")]
    assert len(detection) == 3 and len({tuple(sorted(own)) for own in detection}) == 3, "a draw a seed"
    truths = zip(answers.columns["scorer"], answers.columns["whose"], answers.columns["truth"], strict=True)
    fuzz = [truth for scorer, whose, truth in truths if (scorer, whose) == ("fuzzing", "own")]
    assert sum(fuzz) == len(fuzz) / 2


def test_y3_14_shuffled_explanations_score_at_chance():
    """Forty words, a feature each; every one judged by the explanation of another."""
    import numpy as np

    from radiograph.explanations import Material, Passages
    from radiograph.numerics.explanations import csr

    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 40, 6000)
    passages = Passages(
        tuple(f" v{n}" for n in range(40)),
        tokens,
        np.arange(0, 6000, 24),
        tuple(f"p{n}" for n in range(250)),
        tuple(f"p{n}" for n in range(250)),
    )
    at = np.arange(6000)
    given = Material(passages, csr(np.ones(6000), tokens, at, (40, 6000)), np.arange(40), tuple(map(str, range(40))))
    shuffled = [f"fires on “v{(n + 7) % 40}”" for n in range(40)]
    windowed = Windowed(given, 8)
    found = judging.ask_judges(
        judging.Judged(windowed, windowed.typical, shuffled, (0,)), ("detection", "fuzzing"), Direct(), Silent()
    )
    listed = [(n, str(n)) for n in range(40)]
    for name in ("detection", "fuzzing"):
        own = judging.scores_of(found.columns, name, listed, code=None)
        mean = judging.summary_of(name, own, "m", questions=1, failed=0, code=None, seed=0)
        assert mean.own.value == pytest.approx(0.5, abs=0.05)
        assert mean.lift.low < 0 < mean.lift.high or abs(mean.lift.value) < 0.05


@pytest.mark.parametrize("fault", [Fault(500), Fault(401), "no json"])
def test_y3_14_an_endpoint_that_always_fails_measures_nothing(judged, fault):
    found = ask(judged, lambda payload, number: fault, ("detection",))
    own = scores(found, "detection")
    code = code_of(found, "detection")
    assert code in ("too_many_failed", "endpoint_unauthorised")
    assert [s.value for s in own] == [None] * 3 and {s.code for s in own} == {code}
    summary = judging.summary_of("detection", own, "m", questions=1, failed=1, code="too_many_failed", seed=0)
    assert summary.own is None and summary.lift is None


def test_failed_questions_are_left_out_and_counted(judged):
    """One of 27 questions fails: the score stands on the others, and never on a guess."""
    found = ask(judged, lambda payload, number: Fault(500) if number == 0 else judge(payload, number), ("detection",))
    assert judging.questions_of(found.columns, "detection") == (27, 1)
    own = scores(found, "detection")[0]
    assert own.failed == 20 and own.value == 1 and own.n < 60
    third = ask(
        judged, lambda payload, number: Fault(500) if number % 8 == 0 else judge(payload, number), ("detection",)
    )
    assert code_of(third, "detection") == "too_many_failed"


def table(lines):
    names = ("feature", "scorer", "seed", "whose", "item", "context", "truth", "said", "asked", "question")
    return {name: [line[name] for line in lines] for name in names}


def test_a_lift_compares_the_same_contexts():
    """A judge that is always right on the first draw and always wrong on the second, whatever it is told."""
    lines = [
        {
            "feature": 0,
            "scorer": "detection",
            "seed": seed,
            "whose": whose,
            "item": f"w{seed}{n}",
            "context": n,
            "truth": float(n < 10),
            "said": None if whose == "own" and seed == 2 else float((n < 10) == (seed == 1)),
            "asked": True,
            "question": seed * 3 + place,
        }
        for seed in (1, 2)
        for place, whose in enumerate(("own", "other", "empty"))
        for n in range(20)
    ]
    (own,) = judging.scores_of(table(lines), "detection", [(0, "f")], code=None)
    assert (own.value, own.other, own.lift, own.n, own.failed) == (1, 1, 0, 20, 20)


def test_codes_say_why_a_feature_has_no_score():
    lines = [
        {
            "feature": 0,
            "scorer": "simulation_random",
            "seed": 1,
            "whose": whose,
            "item": f"w{n}",
            "context": n // 10,
            "truth": 0.0,
            "said": float(n % 3),
            "asked": True,
            "question": place,
        }
        for place, whose in enumerate(("own", "other", "empty"))
        for n in range(30)
    ]
    for code in (None, "budget_spent"):
        (own,) = judging.scores_of(table(lines), "simulation_random", [(0, "f")], code=code)
        assert (own.value, own.code) == (None, code or "flat_truth")


def test_a_spent_budget_scores_what_was_answered(judged):
    found = ask(judged, judge, ("detection",), max_calls=4)
    assert found.stopped.code == "budget_spent" and judging.questions_of(found.columns, "detection")[0] == 4
    own = scores(found, "detection")
    assert own[0].value == 1 and [s.code for s in own[1:]] == ["not_asked", "not_asked"]


@pytest.mark.parametrize(
    "labels",
    [[], [{"n": 1, "fires": True}], [{"n": n, "fires": 1} for n in range(1, 21)], {"1": True}],
)
def test_labels_are_read_strictly(labels):
    from radiograph.explanations.scorers._judging import labels_read

    with pytest.raises(ValueError, match="once for each of 1 to 20"):
        labels_read(json.dumps({"labels": labels}), 20)
