"""The degraded axis: golden numbers, the three answers, distinct items, and silence that is never a pass."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from radiograph.core import UserError
from radiograph.numerics import (
    PairedTable,
    TaskOutcomes,
    TextLosses,
    besides,
    capability_panel,
    mcnemar,
    task_rows,
)


def outcomes(task, both, lost, gained, wrong):
    n = both + lost + gained + wrong
    reference = np.array([True] * (both + lost) + [False] * (gained + wrong))
    candidate = np.array([True] * both + [False] * lost + [True] * gained + [False] * wrong)
    return TaskOutcomes(task, [f"{task}-{i}" for i in range(n)], reference, candidate)


def texts(ratio=1.0, n=60, spread=0.02, seed=0):
    rng = np.random.default_rng(seed)
    tokens = rng.integers(20, 60, n)
    reference = tokens * rng.normal(2.0, 0.3, n)
    return TextLosses(reference, reference + tokens * (math.log(ratio) + rng.normal(0, spread, n)), tokens)


SOUND = [outcomes("sums", 90, 5, 2, 3), outcomes("copy", 96, 2, 1, 1)]


def test_hundred_items_with_five_lost_pass():
    result = capability_panel(SOUND, texts(), seed=0)
    assert (result.axis, result.reason) == ("no", None)
    row = result.tasks[0]
    assert row.upper == pytest.approx(0.083, abs=5e-4)
    assert (row.n, row.lost, row.gained, row.drop) == (100, 5, 2, 0.03)
    assert row.p == mcnemar(5, 2) and row.p_holm == pytest.approx(2 * row.p)


def test_thirty_items_with_two_lost_never_pass():
    result = capability_panel([outcomes("a", 28, 2, 0, 0), outcomes("b", 200, 0, 0, 0)], texts(), seed=0)
    assert (result.axis, result.reason) == ("unknown", "panel_too_small")
    needed = result.items_to_settle
    assert needed is not None and 30 < needed < 200


def test_a_lost_task_is_degraded_even_if_others_hold():
    result = capability_panel([*SOUND, outcomes("facts", 70, 25, 2, 3)], texts(), seed=0)
    assert result.axis == "yes" and "facts" in result.text


def test_a_sure_but_tiny_loss_is_not_called_one():
    result = capability_panel([outcomes("a", 1960, 40, 0, 0), outcomes("b", 500, 0, 0, 0)], texts(), seed=0)
    assert result.tasks[0].p_holm < 1e-6
    assert result.axis == "no"


def test_perplexity_alone_can_degrade():
    assert capability_panel(SOUND, texts(1.6), seed=0).axis == "yes"
    wide = capability_panel(SOUND, texts(1.2, n=12, spread=0.3), seed=0)
    assert wide.axis == "unknown" and wide.perplexity.texts_to_settle > 12


def test_few_neutral_texts_bound_no_perplexity():
    """Bounds from a few texts miss in a quarter of cases, so they neither break a model nor clear one."""
    for n, ratio in ((2, 1.0), (2, 3.0), (29, 1.0), (29, 3.0)):
        few = capability_panel(SOUND, texts(ratio, n=n), seed=0)
        assert (few.axis, few.reason) == ("unknown", "perplexity_missing"), (n, ratio)
        assert f"{n} neutral texts" in few.text and few.perplexity.texts_to_settle == 30
    assert capability_panel(SOUND, texts(1.0, n=30), seed=0).axis == "no"
    assert capability_panel(SOUND, texts(3.0, n=30), seed=0).axis == "yes"


def test_missing_evidence_is_never_a_pass():
    assert capability_panel(SOUND, None, seed=0).reason == "perplexity_missing"
    assert capability_panel([], texts(), seed=0).axis == "unknown"
    assert capability_panel(SOUND[:1], texts(), seed=0).reason == "panel_too_small"
    small = capability_panel([*SOUND, outcomes("tiny", 10, 0, 0, 0)], texts(), seed=0)
    assert (small.axis, small.reason) == ("unknown", "panel_too_small")
    assert small.tasks[2].p is None and not small.tasks[2].measured and "tiny" in small.text


def test_reruns_of_the_same_items_add_nothing():
    once = outcomes("a", 28, 2, 0, 0)
    ten = TaskOutcomes("a", list(once.items) * 10, np.tile(once.reference, 10), np.tile(once.candidate, 10))
    other = outcomes("b", 100, 0, 0, 0)
    assert capability_panel([ten, other], texts(), seed=0) == capability_panel([once, other], texts(), seed=0)


def test_an_item_is_right_only_if_right_every_time():
    task = TaskOutcomes("a", ["x", "x", "y"], np.array([True, True, True]), np.array([True, False, True]))
    row = task_rows({"a": PairedTable.of(task.reference[1:], task.candidate[1:])})[0]
    result = capability_panel([task], None, seed=0).tasks[0]
    assert (result.n, result.lost, result.gained) == (row.n, row.lost, row.gained) == (2, 1, 0)


@settings(max_examples=25)
@given(permutation=st.permutations(range(100)))
def test_order_of_items_does_not_matter(permutation):
    task = SOUND[0]
    shuffled = TaskOutcomes(
        "sums", [task.items[i] for i in permutation], task.reference[permutation], task.candidate[permutation]
    )
    assert capability_panel([shuffled, SOUND[1]], None, seed=0) == capability_panel(SOUND, None, seed=0)


@pytest.mark.parametrize("cells", [(28, 2, 0, 0), (25, 3, 1, 1), (26, 4, 0, 0), (20, 4, 3, 3), (24, 2, 2, 2)])
def test_the_advised_size_is_where_the_same_rates_begin_to_settle(cells):
    def row(times):
        table = PairedTable(*(times * x for x in cells))
        return task_rows({"a": table, "b": table})[0]

    needed = row(1).items_to_settle
    for times in range(1, 2 + needed // 10):
        now = row(times)
        settled = now.upper <= 0.10 or (now.p_holm <= 0.05 and now.drop >= 0.05)
        assert settled == (now.n >= needed)


def test_perplexity_ratio_recovers_the_planted_one_and_its_bounds_nest():
    ratio = capability_panel(SOUND, texts(1.1, n=200), seed=3).perplexity
    assert ratio.interval.low <= ratio.lower <= 1.1 <= ratio.upper <= ratio.interval.high
    assert ratio.ratio == pytest.approx(1.1, abs=0.01)


def test_equal_models_have_ratio_exactly_one():
    losses = texts(1.0, spread=0.0)
    same = TextLosses(losses.reference, losses.reference.copy(), losses.tokens)
    ratio = capability_panel(SOUND, same, seed=0).perplexity
    assert (ratio.ratio, ratio.lower, ratio.upper) == (1.0, 1.0, 1.0)


def test_a_wrecked_model_is_degraded_and_no_overflow():
    losses = texts(1.0, spread=0.0)
    wrecked = TextLosses(losses.reference, losses.reference + 800.0 * losses.tokens, losses.tokens)
    found = capability_panel(SOUND, wrecked, seed=0)
    assert found.axis == "yes" and np.isfinite(found.perplexity.ratio)


def test_malformed_panels_are_errors():
    with pytest.raises(UserError, match="twice"):
        capability_panel([SOUND[0], SOUND[0]], None, seed=0)
    with pytest.raises(UserError, match="one outcome"):
        capability_panel([TaskOutcomes("a", ["x", "y"], np.array([True]), np.array([True]))], None, seed=0)
    broken = texts()
    with pytest.raises(UserError, match="not finite"):
        capability_panel(SOUND, TextLosses(broken.reference, broken.candidate * np.nan, broken.tokens), seed=0)


def explained(task, *places):
    mask = np.zeros(len(task.items), dtype=bool)
    mask[list(places)] = True
    return mask


def test_losses_that_a_witness_explains_are_left_out_and_no_others():
    task = outcomes("sums", 46, 50, 2, 2)  # right, lost, gained, wrong in both
    rest = besides(task, explained(task, *range(40, 90), 97, 99))
    assert rest is not None
    assert (len(rest.items), int(rest.reference.sum()), int(rest.candidate.sum())) == (100 - 44, 46 + 6, 46 + 2)
    left = capability_panel([rest, outcomes("copy", 96, 2, 1, 1)], texts(), seed=0)
    whole = capability_panel([task, outcomes("copy", 96, 2, 1, 1)], texts(), seed=0)
    assert whole.axis == "yes" and left.axis == "unknown", "six of 52 lost are not shown to be few"


def test_a_task_lost_nearly_as_a_whole_counts_whole():
    task = outcomes("sums", 20, 80, 0, 0)
    assert besides(task, explained(task, *range(20, 90))) is not None, "thirty items are left"
    assert besides(task, explained(task, *range(20, 91))) is None
    assert besides(task, explained(task, *range(20))) is None, "nothing is explained that was not lost"
