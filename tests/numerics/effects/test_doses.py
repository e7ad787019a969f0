"""Dose-response and the choice of a dose."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from radiograph.core import UserError
from radiograph.numerics.effects import Limits, dose_response, drift, select, side_effects

DOSES = np.array([-2.0, -1.0, -0.5, 0.5, 1.0, 2.0])


def measured(curve, noise: float = 0.02, groups: int = 24, seed: int = 0, doses: np.ndarray = DOSES):
    rng = np.random.default_rng(seed)
    dose, group = np.tile(doses, groups), np.repeat(np.arange(groups), len(doses))
    change = curve(dose) * (1 + 0.1 * rng.normal(size=groups))[group] + noise * rng.normal(size=len(dose))
    return dose, change, group


def test_the_slope_is_least_squares_through_zero():
    dose, change, group = measured(lambda d: 0.4 * d)
    found = dose_response(dose, change, group, seed=0)
    assert found.slope == pytest.approx(float(np.linalg.lstsq(dose[:, None], change, rcond=None)[0][0]))
    rng = np.random.default_rng(1)
    slow = []
    for _ in range(1000):
        taken = np.concatenate([np.flatnonzero(group == g) for g in rng.integers(0, 24, 24)])
        slow.append((dose[taken] @ change[taken]) / (dose[taken] @ dose[taken]))
    assert found.interval == pytest.approx(tuple(np.quantile(slow, [0.025, 0.975])), abs=0.003)
    means = [change[dose == d].mean() for d in DOSES]
    assert found.means == pytest.approx(means)
    assert found.monotonicity == pytest.approx(stats.spearmanr(np.append(DOSES, 0), np.append(means, 0))[0])
    assert found.slopes and found.shape == "linear" and len(found.samples) == 2000


@pytest.mark.parametrize(
    ("curve", "shape", "slopes"),
    [
        (lambda d: 0.4 * d, "linear", True),
        (lambda d: -0.4 * d, "linear", True),
        (lambda d: np.tanh(3 * d), "saturating", True),
        (lambda d: 0.2 * d**3, "accelerating", True),
        (lambda d: np.maximum(d, 0), "one_sided", True),
        (lambda d: 0.0 * d, "flat", False),
        (lambda d: np.abs(d), "flat", False),
        (lambda d: np.sin(2.5 * d) + 0.1 * d, "not_monotone", True),
    ],
)
def test_shapes_have_their_names(curve, shape, slopes):
    found = dose_response(*measured(curve), seed=0)
    assert (found.shape, found.slopes) == (shape, slopes)
    if shape in ("linear", "saturating", "accelerating"):
        assert found.monotonicity == pytest.approx(1.0)  # whichever way the slope goes


def test_orders_copies_and_units_change_nothing():
    dose, change, group = measured(lambda d: 0.4 * d)
    found = dose_response(dose, change, group, seed=0)
    mixed = np.random.default_rng(1).permutation(len(dose))
    same = dose_response(dose[mixed], change[mixed], group[mixed], seed=0)
    assert (same.slope, same.interval) == (found.slope, found.interval)
    five = dose_response(*(np.repeat(x, 5) for x in (dose, change, group)), seed=0)
    assert five.interval == pytest.approx(found.interval)
    scaled = dose_response(dose * 10, change, group, seed=0)
    assert scaled.slope * 10 == pytest.approx(found.slope) and scaled.shape == found.shape


def test_what_cannot_be_said_is_null():
    one = dose_response(*measured(lambda d: d, groups=1), seed=0)
    assert one.interval is None and one.shape is None and not one.slopes and not len(one.samples)
    two = dose_response(*measured(lambda d: d, doses=np.array([-1.0, 1.0])), seed=0)
    assert two.monotonicity is None and two.interval is not None
    with pytest.raises(UserError, match="a dose other than 0"):
        dose_response(np.zeros(4), np.zeros(4), np.arange(4), seed=0)
    dose, change, group = measured(lambda d: d)
    placebo = dose_response(
        np.append(dose, np.zeros(3)), np.append(change, np.zeros(3)), np.append(group, [0, 1, 99]), seed=0
    )
    assert placebo.slope == pytest.approx(dose_response(dose, change, group, seed=0).slope) and placebo.groups == 24


def chosen(**changed):
    table: dict[str, Any] = {
        "estimate": np.array([0.1, 0.3, 0.5, 0.9]),
        "low": np.array([0.05, 0.2, 0.4, 0.7]),
        "high": np.array([0.15, 0.4, 0.6, 1.1]),
        "kl": np.array([0.001, 0.02, 0.08, 0.6]),
        "ppl": np.array([1.0, 1.01, 1.05, 2.0]),
        "negative": np.array([0.01, 0.02, 0.1, 0.8]),
        **changed,
    }
    return select(**table)


def test_the_surest_dose_inside_limits_is_chosen():
    found = chosen()
    assert found.chosen == 2 and found.reasons == ((), (), (), ("kl", "ppl", "negative"))
    falling = chosen(
        estimate=-np.array([0.1, 0.3, 0.5, 0.9]),
        low=-np.array([0.15, 0.4, 0.6, 1.1]),
        high=-np.array([0.05, 0.2, 0.4, 0.7]),
    )
    assert falling.chosen == 2
    equal = {"estimate": 0.3, "low": 0.2, "high": 0.4, "kl": 0.0, "ppl": 1.0, "negative": 0.0}
    assert chosen(**{name: np.full(2, value) for name, value in equal.items()}).chosen == 0


def test_y3_9_all_doses_harmful_or_useless_leave_none():
    harmful = chosen(kl=np.full(4, 0.5))
    assert harmful.chosen is None and all("kl" in reasons for reasons in harmful.reasons)
    useless = chosen(low=np.full(4, -0.1))
    assert useless.chosen is None and all("no_effect" in reasons for reasons in useless.reasons)
    assert not useless.bound.any()
    unmeasured = chosen(kl=np.full(4, np.nan), ppl=np.full(4, np.nan))
    assert unmeasured.chosen is None and unmeasured.reasons[0] == ("kl_missing", "ppl_missing")
    assert chosen(low=np.full(4, np.nan)).reasons[0] == ("not_measured",)
    mixed = chosen(kl=np.array([0.5, 0.5, 0.5, 0.001]), low=np.array([0.05, 0.2, 0.4, -0.1]))
    assert mixed.chosen is None and mixed.reasons[3] == ("no_effect", "ppl", "negative")
    wider = select(
        np.array([0.5]),
        np.array([0.4]),
        np.array([0.6]),
        kl=np.array([0.5]),
        ppl=np.array([1.0]),
        negative=np.array([0.3]),
        limits=Limits(kl=1.0, negative=0.7),
    )
    assert wider.chosen == 0


def test_side_effects_and_drift():
    rng = np.random.default_rng(2)
    kl, before = rng.exponential(0.05, 1000), rng.exponential(2, 1000)
    found = side_effects(kl, before, before + np.log(1.05))
    assert found.ppl == pytest.approx(1.05) and found.kl == pytest.approx(kl.mean()) and found.tokens == 1000
    assert found.kl_q95 == pytest.approx(np.quantile(kl, 0.95))
    assert drift(np.array([0.1, -0.1, 0.4]), np.array([0, 0, 1])) == pytest.approx(0.25)
    assert drift(np.empty(0), np.empty(0, dtype=int)) is None
    with pytest.raises(UserError, match="neutral text"):
        side_effects(np.empty(0), np.empty(0), np.empty(0))
