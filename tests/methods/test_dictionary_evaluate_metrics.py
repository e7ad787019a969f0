"""Metrics of splicing from sums: what is given, what is refused, and that intervals resample whole texts."""

from __future__ import annotations

import numpy as np
import pytest

from radiograph.core import UserError
from radiograph.interventions import SpliceLosses
from radiograph.methods.dictionary._evaluation.metrics import KINDS, splice_metrics
from radiograph.methods.dictionary._evaluation.requirements import answered, parse
from radiograph.numerics.dictionaries.units import draws

TEXTS = 40
UNITS = np.arange(TEXTS)
TAKEN = draws(TEXTS, seed=0)


def losses(*, exact=2.0, noise=0.0, **means):
    """Forty texts of ten tokens with given mean losses."""
    wobble = noise * np.random.default_rng(0).normal(size=TEXTS)
    ce = {"clean": 2.0, "spliced": 2.1, "zero": 6.0, "mean": 5.0, "exact": exact, **means}
    kl = {"spliced": 0.1, "zero": 4.0, "mean": 3.0}
    return SpliceLosses(
        tokens=np.full(TEXTS, 10),
        n_spliced=300,
        nats={how: 10 * (np.full(TEXTS, value) + wobble * (how == "spliced")) for how, value in ce.items()},
        divergence={how: np.full(TEXTS, 10 * value) for how, value in kl.items()},
    )


def measured(**means):
    made, missing = splice_metrics({"ours": losses(**means), "random": losses(spliced=4.0)}, UNITS, TAKEN, None)
    return {m.name: m for m in made}, {gap.what: gap.code for gap in missing}


def test_every_number_by_hand():
    made, missing = measured()
    assert missing == {}
    values = {name: m.estimate.value for name, m in made.items()}
    assert values == pytest.approx(
        {
            "ce_clean": 2.0,
            "delta_ce": 0.1,
            "kl": 0.1,
            "ce_recovered_zero": 3.9 / 4,
            "ce_recovered_mean": 2.9 / 3,
            "kl_recovered": 3.9 / 4,
        }
    )
    assert made["delta_ce"].estimate.null == pytest.approx(3.0), "the mean in its place"
    assert made["ce_recovered_mean"].random == pytest.approx(1 / 3)
    assert made["delta_ce"].estimate.n == 400


def test_ce_recovered_is_never_given_against_zeros_alone_nor_under_a_small_gap():
    """Fault 17."""
    made, missing = measured(mean=2.04)
    assert not {"ce_recovered_zero", "ce_recovered_mean"} & made.keys()
    assert missing == {"ce_recovered_mean": "ablation_gap", "ce_recovered_zero": "zero_ablation_alone"}
    assert "delta_ce" in made
    made, missing = measured(zero=2.04, mean=2.04)
    assert missing == dict.fromkeys(("ce_recovered_zero", "ce_recovered_mean"), "ablation_gap")


def test_nothing_counts_where_the_splice_itself_is_not_exact():
    made, missing = measured(exact=2.0 + 2e-5)
    assert made == {}
    assert missing == dict.fromkeys((n for n, k in KINDS.items() if k.group == "splice"), "splice_not_exact")


def test_intervals_are_of_texts():
    made, _ = splice_metrics({"ours": losses(noise=0.2)}, UNITS, TAKEN, "resid_post.1")
    delta = next(m for m in made if m.name == "delta_ce").estimate
    assert delta.high - delta.low == pytest.approx(4 * 0.2 / TEXTS**0.5, rel=0.3)
    assert {m.source for m in made} == {"resid_post.1"}


@pytest.mark.parametrize(
    ("text", "value", "met"),
    [
        ("fvu<0.2", 0.1, True),
        ("fvu<0.1", 0.1, False),
        ("fvu<=.1", 0.1, True),
        ("l0>=1e1", 9.0, False),
        ("l0>3", None, None),
    ],
)
def test_demands_mean_what_they_say(text, value, met):
    (one,) = parse([text], list(KINDS))
    values = {} if value is None else {(one.metric, None): value}
    assert answered([one], values)[0].met is met


def test_a_demand_may_name_a_source():
    (one,) = parse([" delta_ce@candidate/resid_post.6 <= 0.3 "], list(KINDS))
    assert (one.metric, one.source, one.sense, one.bound) == ("delta_ce", "candidate/resid_post.6", "<=", 0.3)
    with pytest.raises(UserError, match="no metric"):
        parse(["fuv<1"], list(KINDS))
