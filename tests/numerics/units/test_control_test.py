from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from radiograph.core import UserError
from radiograph.numerics.units import control_test, explained, first_order, saturated


def test_p_counts_controls_that_reach_it_and_itself():
    found = control_test(2.0, np.arange(19.0))
    assert (found.rank, found.p, found.smallest) == (18, 18 / 20, 1 / 20)  # 2…18 reach it: 17 of 19
    assert control_test(99.0, np.arange(19.0)).p == 1 / 20
    assert control_test(0.0, [0.0] * 40).p == 1.0  # ties count against it


def test_under_nineteen_controls_there_is_no_p():
    found = control_test(99.0, [0.0] * 18)
    assert (found.p, found.note, found.smallest, found.rank) == (None, "no p from controls", 1 / 19, 1)
    with pytest.raises(UserError, match="not finite"):
        control_test(float("nan"), [0.0] * 30)


def test_r7_p_is_uniform_where_the_observed_is_one_of_the_controls():
    rng = np.random.default_rng(0)
    found = [control_test(float(x[0]), x[1:]).p for x in rng.standard_normal((2000, 200))]
    assert stats.kstest(np.array(found) - rng.uniform(0, 1 / 200, 2000), "uniform").pvalue > 0.001
    assert 0.035 <= np.mean(np.array(found) < 0.05) <= 0.065


@pytest.mark.parametrize("centred", [False, True])
def test_r18_the_first_order_is_the_derivative_and_the_far_end_the_limit(centred: bool):
    """Against finite differences and a write of 10⁹, by a norm written here."""
    rng = np.random.default_rng(0)
    d, vocabulary = 12, 40
    unembed, gain, bias = rng.standard_normal((vocabulary, d)), rng.uniform(0.5, 2, d), rng.standard_normal(d)
    offset, x, w = rng.standard_normal(vocabulary), rng.standard_normal((7, d)), rng.standard_normal(d)

    def logits(rows: np.ndarray) -> np.ndarray:
        t = rows - rows.mean(1, keepdims=True) if centred else rows
        return (t / np.sqrt((t**2).mean(1, keepdims=True) + 1e-5) * gain + bias) @ unembed.T + offset

    tilde = w - w.mean() if centred else w
    base = x - x.mean(1, keepdims=True) if centred else x
    scale = np.sqrt((base**2).mean(1) + 1e-5)
    change = np.full(7, 1e-6)
    linear = first_order(base / scale[:, None], scale, tilde, change, gain, unembed)
    numeric = (logits(x + 1e-6 * w) - logits(x - 1e-6 * w)) / 2
    np.testing.assert_allclose(linear, numeric, rtol=1e-5, atol=1e-13)
    r2 = explained(numeric, linear)
    assert r2 is not None
    assert r2 > 0.999999
    assert explained(np.zeros((3, 4)), np.zeros((3, 4))) is None
    for sign in (1.0, -1.0):
        far = saturated(tilde, sign, gain, bias, unembed, offset)
        np.testing.assert_allclose(logits(x + sign * 1e9 * w), np.broadcast_to(far, (7, vocabulary)), atol=1e-6)
