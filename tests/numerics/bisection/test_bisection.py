"""The search for the first broken checkpoint, on every small history and on evaluations that err."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from radiograph.core import UserError
from radiograph.numerics.bisection import (
    Plan,
    Seen,
    Threshold,
    conclude,
    decide,
    least,
    least_repeats,
    next_ask,
    read_threshold,
    student,
)


def search(plan: Plan, verdict: Callable[[int], str]) -> dict[int, Seen]:
    seen: dict[int, Seen] = {}
    while (ask := next_ask(plan, seen)) is not None:
        assert ask.again or ask.index not in seen, "nothing is looked at twice"
        rounds = seen[ask.index].rounds + 1 if ask.again else 1
        seen[ask.index] = Seen(verdict(ask.index), ask.phase, rounds)  # type: ignore[arg-type]
    return seen


@pytest.mark.parametrize("n", [2, 3, 4, 5, 8, 9, 16, 33])
def test_every_place_is_found_in_the_fewest_looks(n):
    for place in range(1, n):
        plan = Plan(n, check=0)
        seen = search(plan, lambda i, place=place: "broken" if i >= place else "good")
        answer = conclude(plan, seen)
        assert (answer.outcome, answer.last_good, answer.first_broken) == ("BROKEN_AT", place - 1, place)
        assert len(seen) <= least(n)
    assert any(
        len(search(Plan(n, check=0), lambda i, place=place: "broken" if i >= place else "good")) == least(n)
        for place in range(1, n)
    )


def test_ends_answer_by_themselves():
    plan = Plan(8, check=0)
    assert conclude(plan, search(plan, lambda _: "good")).outcome == "ALL_OK"
    assert len(search(plan, lambda _: "good")) == 2
    assert conclude(plan, search(plan, lambda _: "broken")).outcome == "FIRST_IS_BROKEN"
    assert len(search(plan, lambda _: "broken")) == 1
    assert conclude(plan, search(plan, lambda _: "skip")).outcome == "INCONCLUSIVE"


def test_skips_leave_an_interval_that_holds_the_truth():
    for seed in range(300):
        draw = random.Random(seed)
        n = draw.randint(2, 12)
        place = draw.randint(0, n)
        dumb = {i for i in range(n) if draw.random() < 0.4}
        order = draw.sample(range(n), n)
        plan = Plan(n, check=draw.randint(0, 3), order=order)

        def verdict(i: int, place: int = place, dumb: set[int] = dumb) -> str:
            return "skip" if i in dumb else "broken" if i >= place else "good"

        answer = conclude(plan, search(plan, verdict))
        low = -1 if answer.last_good is None else answer.last_good
        high = n if answer.first_broken is None else answer.first_broken
        assert low < place <= high
        assert answer.outcome != "NOT_MONOTONE"
        between = set(range(low + 1, high))
        if answer.outcome == "INCONCLUSIVE":
            assert between
            assert between <= dumb
        elif answer.outcome == "BROKEN_AT":
            assert place == high == low + 1
        elif answer.outcome == "ALL_OK":
            assert n - 1 not in dumb


def test_a_skip_asks_its_nearest_neighbour_and_older_ones_first():
    seen = {0: Seen("good"), 8: Seen("broken"), 4: Seen("skip")}
    first = next_ask(Plan(9, check=0), seen)
    assert first is not None
    assert first.index == 3
    second = next_ask(Plan(9, check=0), seen | {3: Seen("skip")})
    assert second is not None
    assert second.index == 5


def test_pd_13_good_bad_good_is_not_monotone():
    plan = Plan(3, order=(2, 0, 1))
    answer = conclude(plan, search(plan, lambda i: "broken" if i == 1 else "good"))
    assert (answer.outcome, answer.contradictions) == ("NOT_MONOTONE", (2,))
    plan = Plan(12, check=2, order=tuple(range(12)))
    answer = conclude(plan, search(plan, lambda i: "broken" if i in (5, 8, 9, 10, 11) else "good"))
    assert answer.outcome == "NOT_MONOTONE"
    plan = Plan(5, scan=True)
    seen = search(plan, lambda i: "broken" if i in (1, 4) else "good")
    assert len(seen) == 5
    assert conclude(plan, seen).contradictions == (2, 3)


def test_p8_11_a_break_at_each_place_with_an_evaluation_that_errs_one_time_in_five():
    right = 0
    for seed in range(100):
        draw = random.Random(seed)
        place, runs = 1 + seed % 7, dict[int, list[bool]]()
        plan = Plan(8, order=draw.sample(range(8), 8))

        def verdict(i: int, place: int = place, runs: dict[int, list[bool]] = runs, draw: random.Random = draw) -> str:
            own = runs.setdefault(i, [])
            for _ in range(15):
                own.append((i >= place) != (draw.random() < 0.2))
                if (said := decide(own, 15, 0.95)) is not None:
                    return said
            return "flaky"

        answer = conclude(plan, search(plan, verdict))
        right += (answer.outcome, answer.first_broken) == ("BROKEN_AT", place)
    assert right >= 95


def test_repeats_decide_when_the_interval_leaves_one_half():
    assert decide([True], 1, 0.95) == "broken"
    assert [decide([False] * n, 15, 0.95) for n in (1, 2, 3, 4)] == [None, None, None, "good"]
    assert decide([True, False] * 4, 15, 0.95) is None
    assert least_repeats(0.95) == 4
    low, high = stats.binomtest(3, 15).proportion_ci(0.95, "wilson")
    assert (low <= 0.5 <= high) == (decide([True] * 3 + [False] * 12, 15, 0.95) is None)


def test_a_metric_decides_when_students_interval_leaves_the_threshold():
    values = [0.10, 0.14, 0.12, 0.13]
    expected = stats.t.interval(0.95, 3, loc=sum(values) / 4, scale=stats.sem(values))
    assert student(values, 0.95) == pytest.approx(expected)
    above = Threshold(">", 0.05)
    assert decide(values, 9, 0.95, above) == "broken"
    assert decide(values[:1], 9, 0.95, above) is None
    assert decide([0.04, 0.07], 9, 0.95, above) is None
    assert [decide([0.05] * n, 9, 0.95, above) for n in (2, 3, 4)] == [None, None, "good"]
    assert decide([0.05], 1, 0.95, Threshold(">=", 0.05)) == "broken"


def called_broken(draw, threshold, draws):
    """Of rounds of up to 15 runs of a good checkpoint."""
    wrong = 0
    for _ in range(draws):
        runs: list[float] = []
        while len(runs) < 15 and decide(runs, 15, 0.95, threshold) is None:
            runs.append(float(draw()))
        wrong += decide(runs, 15, 0.95, threshold) == "broken"
    return wrong / draws


def test_metrics_of_few_values_are_not_sure_because_two_are_equal():
    """A metric of 0 or 1 that is wrong one time in five: a checkpoint is called wrongly within the confidence."""
    rng = np.random.default_rng(0)
    assert called_broken(lambda: rng.random() < 0.2, Threshold(">", 0.5), 1500) <= 0.025


def test_looking_after_every_run_keeps_the_level():
    """A mean a tenth of a deviation on the good side; the level itself at every look gives 7 %."""
    rng = np.random.default_rng(1)
    wrong = called_broken(lambda: 0.9 + rng.standard_normal(), Threshold(">", 1.0), 800)
    assert wrong <= 0.025 + 3 * np.sqrt(0.025 * 0.975 / 800)


def test_thresholds_are_read_or_refused():
    assert read_threshold("<= 3") == Threshold("<=", 3.0)
    for text in ("0.05", ">", "> nan", "=3", ">x"):
        with pytest.raises(UserError, match="cannot read"):
            read_threshold(text)
