"""Agreement of two dictionaries: order and length do not matter, encoders do, the null is the decoder's own shape."""

import numpy as np
import pytest

from radiograph.core import UserError
from radiograph.numerics.dictionaries import agreement
from radiograph.numerics.dictionaries.agreement import seed_agreement


def rows(count, width=32, seed=0):
    return np.random.default_rng(seed).standard_normal((count, width)).astype(np.float32)


@pytest.mark.parametrize("route", ["hungarian", "mutual_nearest"])
def test_the_same_dictionary_in_another_order_agrees_whole(route, monkeypatch):
    monkeypatch.setattr(agreement, "HUNGARIAN", 4096 if route == "hungarian" else 0)
    d, e = rows(60), rows(60, seed=1)
    order = np.random.default_rng(2).permutation(60)
    found = seed_agreement(d, e, 2 * d[order], e[order], seed=0)
    assert (found.pairing, found.shared, found.n) == (route, 60, 60)
    assert found.mmcs == pytest.approx(1) and found.mmcs_back == pytest.approx(1)
    assert np.array_equal(order[found.pairs[:, 1]], found.pairs[:, 0])
    assert found.null_shared < 5


def test_both_routes_count_the_same_shared_features(monkeypatch):
    d = rows(80)
    other = np.concatenate([d[:40] + 0.2 * rows(40, seed=3), rows(40, seed=4)])
    whole = seed_agreement(d, d, other, other, seed=0)
    monkeypatch.setattr(agreement, "HUNGARIAN", 0)
    nearest = seed_agreement(d, d, other, other, seed=0)
    assert whole.shared == nearest.shared == 40
    assert whole.mmcs == pytest.approx(nearest.mmcs)
    assert whole.shared_interval.low < 0.5 < whole.shared_interval.high


def test_decoders_that_agree_with_encoders_that_do_not_share_nothing():
    d = rows(50)
    found = seed_agreement(d, rows(50, seed=1), d, rows(50, seed=2), seed=0)
    assert found.shared == 0
    assert found.decoder_cosine == pytest.approx(1)


def test_a_narrow_decoder_agrees_with_its_own_null():
    """Rows in two dimensions meet by chance: the null says so, and a plain share would not."""
    basis = np.linalg.qr(rows(32, seed=9))[0][:2]
    d, other = rows(64, 2) @ basis, rows(64, 2, seed=1) @ basis
    found = seed_agreement(d, d, other, other, seed=0)
    assert found.shared > 50
    assert found.null_shared > 50
    assert abs(found.mmcs - found.null_mmcs) < 0.05


@pytest.mark.parametrize("count", [20, 200])
def test_null_rows_have_the_moments_of_the_decoder(count):
    scale = np.linspace(0.1, 3, 32).astype(np.float32)
    d = rows(count) * scale + 1
    drawn = np.concatenate([agreement._like(d, seed) for seed in range(200)])
    assert drawn.mean(axis=0) == pytest.approx(d.mean(axis=0), abs=0.15)
    assert drawn.std(axis=0) == pytest.approx(d.std(axis=0), rel=0.15)


def test_other_widths_are_refused():
    with pytest.raises(UserError) as caught:
        seed_agreement(rows(5, 8), rows(5, 8), rows(5, 9), rows(5, 9), seed=0)
    assert caught.value.code == "dictionary_mismatch"
