"""Three distances, their intervals, the limit that the null gives, and the judgement."""

from __future__ import annotations

import numpy as np
import pytest

from radiograph.core import UserError
from radiograph.numerics.distances import FLOOR, Effect, classes, effects, gain, judged, limit_of
from radiograph.numerics.proportions import Interval

RNG = np.random.default_rng(3)


def test_positions_are_near_in_the_window_or_far():
    fires = np.array([False, True, False, False, False])
    anywhere = np.array([True, True, True, False, False])
    assert classes(fires, anywhere).tolist() == [1, 0, 1, 2, 2]
    # A document that fires at a token which predicts nothing that counts is not far.
    assert classes(fires & False, anywhere).tolist() == [1, 1, 1, 2, 2]


def test_effects_equal_a_plain_recount():
    document = np.repeat(np.arange(30), 5)
    kl, rise = RNG.random(150), RNG.normal(size=150) * 0.1
    fires = RNG.random(150) < 0.05
    kind = classes(fires, np.isin(document, document[fires]))
    found = effects(kl, rise, kind, document, seed=0)
    for number, effect in enumerate(found.values()):
        own = [n for n in range(150) if kind[n] == number]
        assert effect.positions == len(own)
        assert effect.documents == len({int(document[n]) for n in own})
        assert effect.kl == pytest.approx(sum(kl[n] for n in own) / len(own))
        assert effect.perplexity == pytest.approx(np.exp(sum(rise[n] for n in own) / len(own)))
        assert effect.kl_interval is not None and effect.kl_interval.low <= effect.kl <= effect.kl_interval.high


def test_documents_are_resampled_not_tokens():
    """The same values as 8 documents of 100 equal tokens: the interval is as wide as that of 8 numbers."""
    values = np.tile([0.0, 0.1, 0.2, 0.3], 2)
    kl, document = np.repeat(values, 100), np.repeat(np.arange(8), 100)
    found = effects(kl, kl * 0, np.full(800, 2), document, seed=1)["far"].kl_interval
    alone = effects(values, values * 0, np.full(8, 2), np.arange(8), seed=1)["far"].kl_interval
    assert found is not None and alone is not None
    assert found == pytest.approx(alone)
    assert found.high - found.low > 0.1
    few = effects(values[:5], values[:5] * 0, np.full(5, 2), np.arange(5), seed=1)["far"]
    assert few.kl is not None and few.kl_interval is None


def test_a_class_without_positions_has_no_number_and_one_document_no_interval():
    found = effects(np.array([0.5]), np.array([0.0]), np.array([0]), np.array([0]), seed=0)
    assert found["near"].kl == 0.5 and found["near"].kl_interval is None
    assert found["far"].kl is None and found["far"].positions == 0


def test_the_limit_is_the_95th_percentile_of_the_null_and_at_least_the_floor():
    draws = list(np.linspace(0.0, 0.2, 20))
    assert limit_of(draws) == pytest.approx(np.quantile(draws, 0.95))
    assert limit_of([1e-5] * 20) == FLOOR
    assert limit_of([]) == FLOOR
    assert limit_of([3.0] * 19) == FLOOR, "nineteen draws say nothing about a 95th percentile"
    with pytest.raises(UserError, match="not finite"):
        limit_of([float("nan")])


FAR = Effect(100, 10, 0.001, Interval(0.0, 0.002), 1.0, None)


@pytest.mark.parametrize(
    ("said", "changed"),
    [
        ("accepted", {}),
        ("too_few_firings", {"firings": 29}),
        ("no_gain", {"rise": 0.29}),
        ("no_gain", {"rise_interval": Interval(-0.01, 0.9)}),
        ("too_far", {"max_far": 0.001}),
        ("not_judged", {"rise": None}),
        ("not_judged", {"rise_interval": None}),
        ("not_judged", {"far": Effect(0, 0, None, None, None, None)}),
    ],
)
def test_missing_evidence_is_never_accepted(said, changed):
    given = {
        "firings": 30,
        "rise": 0.5,
        "rise_interval": Interval(0.3, 0.7),
        "far": FAR,
        "least_gain": 0.3,
        "max_far": 0.01,
    } | changed
    firings, rise, between, far = (given.pop(n) for n in ("firings", "rise", "rise_interval", "far"))
    assert judged(firings, rise, between, far, **given) == said


def test_the_gain_is_the_mean_rise_with_an_interval_over_examples():
    before, after = np.tile([0.1, 0.2, 0.3], 2), np.tile([0.6, 0.6, 0.9], 2)
    rise, interval = gain(before, after, seed=0)
    assert rise == pytest.approx(0.5)
    assert interval is not None and 0.399 < interval.low <= 0.5 <= interval.high < 0.601
    assert gain(before[:1], after[:1], seed=0) == (0.5, None)
    assert gain(before[:5], after[:5], seed=0)[1] is None, "five of one sign are no evidence"
