"""Controls and grades: the worked example, planted causes, random directions that stay where they belong."""

from __future__ import annotations

import numpy as np
import pytest

from radiograph.core import Refusal
from radiograph.numerics import Interval
from radiograph.numerics.effects import (
    beyond,
    causal_verdict,
    check_placebo,
    control_families,
    dose_response,
    effects,
    nearest_bound,
    strong_causal_score,
)

RNG = np.random.default_rng(0)
SMALL = np.append(RNG.uniform(-0.1, 0.1, 18), -0.12)


def test_the_strong_causal_score_of_the_example():
    families = control_families(0.31, {"random_direction": SMALL})
    assert strong_causal_score(Interval(0.18, 0.44), families, 0.04) == pytest.approx(0.06)
    assert strong_causal_score(Interval(-0.44, -0.18), families, 0.04) == pytest.approx(0.06)
    assert strong_causal_score(Interval(0.18, 0.44), families, 0.15) == pytest.approx(0.03)
    assert strong_causal_score(Interval(-0.01, 0.44), families, 0.0) == 0.0
    assert nearest_bound(Interval(-0.4, 0.1)) == 0.0
    assert strong_causal_score(Interval(5.0, 6.0), families, 0.0) == pytest.approx(4.88)  # not clamped
    assert strong_causal_score(Interval(0.18, 0.44), (), 0.04) is None
    assert strong_causal_score(Interval(0.18, 0.44), families, None) is None
    assert strong_causal_score(None, families, 0.04) is None


def test_p_is_a_rank_and_the_worst_family_counts():
    wide = np.linspace(0.0, 0.5, 20)
    families = control_families(-0.31, {"random_direction": SMALL, "norm_matched": wide})
    assert [family.name for family in families] == ["norm_matched", "random_direction"]
    assert families[1].p == pytest.approx(1 / 20) and families[1].band == pytest.approx(0.12)
    assert families[0].p == pytest.approx((1 + (wide >= 0.31).sum()) / 21) and families[0].band == pytest.approx(0.5)
    assert not beyond(families) and beyond(families[1:]) and not beyond(())
    assert strong_causal_score(Interval(0.6, 0.9), families, 0.1) == pytest.approx(0.1)
    ties = control_families(0.2, {"random_direction": np.full(40, 0.2)})
    assert ties[0].p == 1.0
    assert control_families(0.2, {"x": np.arange(40.0)})[0].band == 38.0  # the 39th of 40


def test_few_controls_have_no_band():
    families = control_families(9.0, {"norm_matched": SMALL[:18], "random_direction": SMALL})
    assert families[0].few and families[0].p is None and families[0].band is None
    assert not beyond(families) and strong_causal_score(Interval(1.0, 2.0), families, 0.0) is None
    said = causal_verdict(groups=30, estimate=9.0, q=0.001, families=families)
    assert said.grade == "effect" and "few_controls" in said.codes


def test_y3_10_placebo_is_exactly_nothing():
    check_placebo(np.zeros(5))
    with pytest.raises(Refusal, match=r"placebo_leak(.|\n)*row 3"):
        check_placebo(np.array([0, 0, 0, 1e-12, 0]))


def measured(seed: int, effect: float) -> str:
    """A tested direction and 20 controls of two families, each with a sensitivity of its own; 24 groups."""
    rng = np.random.default_rng(seed)
    own = np.concatenate([[effect + 0.1 * rng.normal()], 0.1 * rng.normal(size=40)])
    table = own[:, None] + 0.05 * rng.normal(size=(41, 24))
    feature, group = (x.ravel() for x in np.indices(table.shape))
    found = effects(table.ravel(), feature, group, features=41, seed=seed, resamples=200, signs=50)
    families = control_families(
        found.estimate[0], {"random_direction": found.estimate[1:21], "covariance_matched": found.estimate[21:]}
    )
    return causal_verdict(groups=24, estimate=found.estimate[0], q=found.p[0], families=families).grade


def test_y3_10_a_planted_cause_passes_and_random_directions_do_not():
    assert all(measured(seed, 0.6) == "beyond_controls" for seed in range(5))
    grades = [measured(seed, 0.0) for seed in range(100)]
    assert grades.count("beyond_controls") <= 10
    assert grades.count("effect") > 50  # many do move the outcome: significance alone would call them causes


def response(slope: float = 0.5):
    dose = np.tile([-2.0, -1.0, 1.0, 2.0], 24)
    noise = 0.05 * np.random.default_rng(1).normal(size=96)
    return dose_response(dose, slope * dose + noise, np.repeat(np.arange(24), 4), seed=0, resamples=300)


FULL = {
    "groups": 24,
    "estimate": 0.4,
    "q": 0.001,
    "families": control_families(0.4, {"random_direction": SMALL, "norm_matched": SMALL}),
    "dose": response(),
    "within_limits": True,
    "placebo_exact": True,
}


@pytest.mark.parametrize(
    ("changed", "grade", "codes", "failing"),
    [
        ({}, "validated", (), ()),
        ({"groups": 0, "q": np.nan}, "untested", (), ("effect", "groups")),
        ({"groups": 5, "q": np.nan}, "untested", ("few_groups",), ("effect", "groups")),
        ({"q": 0.2}, "no_effect", (), ("effect",)),
        ({"families": ()}, "effect", ("no_controls",), ("beyond_controls",)),
        ({"groups": 12}, "beyond_controls", ("few_groups",), ("groups",)),
        ({"dose": None}, "beyond_controls", (), ("slope", "monotone")),
        ({"dose": response(0.0)}, "beyond_controls", ("not_monotone",), ("slope", "monotone")),
        ({"dose": response(-0.5)}, "beyond_controls", (), ("slope",)),
        ({"estimate": -0.4, "dose": response(-0.5)}, "validated", (), ()),
        ({"within_limits": False}, "beyond_controls", ("side_effects",), ("limits",)),
        ({"within_limits": None}, "beyond_controls", (), ("limits",)),
        ({"placebo_exact": False}, "beyond_controls", ("placebo_leak",), ("placebo",)),
        ({"placebo_exact": None}, "beyond_controls", (), ("placebo",)),
    ],
)
def test_a_grade_needs_all_its_conditions(changed, grade, codes, failing):
    said = causal_verdict(**{**FULL, **changed})
    assert (said.grade, said.codes, said.failing, said.contradicted) == (grade, codes, failing, False)


def test_an_effect_against_the_association_is_contradicted():
    assert causal_verdict(**FULL, association=-0.3).contradicted
    assert causal_verdict(**FULL, association=-0.3).grade == "validated"
    assert not causal_verdict(**FULL, association=0.3).contradicted
    assert not causal_verdict(**{**FULL, "q": 0.4}, association=-0.3).contradicted
