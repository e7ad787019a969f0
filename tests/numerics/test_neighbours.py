"""Decoder neighbours: equal to comparing every pair, blind to scale and blocks, and no proxy at a chance cosine."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radiograph.core import UserError
from radiograph.numerics import chance_cosine, label_kind, nearest_rows, neighbours


def all_pairs(rows, queries, k, candidates, least):
    unit = rows.astype(np.float64)
    norms = np.linalg.norm(unit, axis=1)
    unit = unit / np.where(norms > 0, norms, 1)[:, None]
    out = []
    for q in queries:
        pairs = [
            (-float(unit[q] @ unit[j]), j)
            for j in range(len(rows))
            if j != q and candidates[j] and norms[j] > 0 < norms[q]
        ]
        out.append([(j, -c) for c, j in sorted(pairs)[:k] if -c >= least])
    return out


@given(
    seed=st.integers(0, 200),
    k=st.integers(1, 12),
    block=st.sampled_from([3, 17, 4096]),
    gathered=st.sampled_from([2, 4096]),
    grouped=st.sampled_from([2, 32]),
    cells=st.sampled_from([5, 4096]),
    given=st.booleans(),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_blocks_find_what_all_pairs_find(seed, k, block, gathered, grouped, cells, given, dtype):
    rng = np.random.default_rng(seed)
    rows = (rng.normal(size=(60, 6)) * np.exp(rng.normal(size=(60, 1)))).astype(dtype)
    rows[rng.integers(0, 60, 3)] = 0  # dead rows
    candidates = rng.random(60) < 0.6
    queries = rng.choice(60, 9, replace=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neighbours, "_BLOCK", block)
        patch.setattr(neighbours, "_GATHERED", gathered)
        patch.setattr(neighbours, "_GROUPED", grouped)
        patch.setattr(neighbours, "_CELLS", 9 * cells)
        norms = np.linalg.norm(rows, axis=1) if given else None
        found = nearest_rows(rows, queries, k=k, candidates=candidates, norms=norms)
    expected = all_pairs(rows, queries, k, candidates, 0.15)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.index.tolist() == [j for j, _ in theirs]
        np.testing.assert_allclose(ours.cosine, [c for _, c in theirs], atol=1e-7)


def test_ties_go_to_the_lower_index_and_self_is_left_out():
    rows = np.tile(np.array([[1.0, 2.0]]), (9, 1)) * np.arange(1, 10)[:, None]
    found = nearest_rows(rows, np.array([4]), k=3)[0]
    assert found.index.tolist() == [0, 1, 2]
    np.testing.assert_allclose(found.cosine, 1)


def test_rescaling_rows_changes_no_neighbour():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(50, 8))
    scaled = rows * rng.uniform(0.001, 1000, (50, 1))
    queries = np.arange(50)
    for a, b in zip(nearest_rows(rows, queries), nearest_rows(scaled, queries), strict=True):
        assert a.index.tolist() == b.index.tolist()
        np.testing.assert_allclose(a.cosine, b.cosine, rtol=1e-9)


def test_without_candidates_or_queries_there_is_nothing():
    rows = np.random.default_rng(0).normal(size=(5, 4))
    assert len(nearest_rows(rows, np.array([0]), candidates=np.zeros(5, dtype=bool))[0].index) == 0
    assert nearest_rows(rows, np.array([], dtype=np.int64)) == ()
    assert chance_cosine(rows, np.zeros(5, dtype=bool), seed=0) == 0.0


def test_chance_cosine_is_what_strangers_reach():
    rng = np.random.default_rng(1)
    narrow, wide = rng.normal(size=(512, 64)), rng.normal(size=(16_384, 1152)).astype(np.float32)
    assert chance_cosine(narrow, seed=0) == pytest.approx(0.44, abs=0.02)
    assert chance_cosine(wide, seed=0) == pytest.approx(0.13, abs=0.01)
    assert chance_cosine(narrow, seed=0) == chance_cosine(narrow, seed=0) != chance_cosine(narrow, seed=1)


def test_a_neighbour_at_chance_is_no_proxy_in_a_narrow_model():
    rows = np.random.default_rng(2).normal(size=(513, 64))
    explained = np.arange(513) > 0
    chance = chance_cosine(rows, explained, seed=0)
    assert chance > 0.4
    assert label_kind(False, 0.35, chance) == "low_similarity"
    assert label_kind(False, 0.35, 0.13) == "proxy"


@pytest.mark.parametrize(
    ("explained", "cosine", "chance", "label"),
    [
        (True, None, 0.9, "direct"),
        (True, 0.99, 0.1, "direct"),
        (False, None, 0.1, "none"),
        (False, 0.1499, 0.1, "none"),
        (False, 0.15, 0.1, "low_similarity"),
        (False, 0.2999, 0.1, "low_similarity"),
        (False, 0.3, 0.1, "proxy"),
        (False, 0.43, 0.44, "low_similarity"),
        (False, 0.44, 0.44, "proxy"),
    ],
)
def test_labels_on_both_sides_of_the_null(explained, cosine, chance, label):
    assert label_kind(explained, cosine, chance) == label


@given(cosine=st.floats(-1, 1), chance=st.floats(0, 1), more=st.floats(0, 0.5))
def test_a_larger_cosine_never_weakens_a_label(cosine, chance, more):
    order = ["none", "low_similarity", "proxy"]
    weak, strong = (order.index(label_kind(False, c, chance)) for c in (cosine, cosine + more))
    assert strong >= weak


def test_bad_queries_and_rows_are_errors():
    rows = np.ones((3, 2))
    for call in (
        lambda: nearest_rows(rows, np.array([3])),
        lambda: nearest_rows(rows, np.array([0]), k=0),
        lambda: nearest_rows(np.full((3, 2), np.nan), np.array([0])),
    ):
        with pytest.raises(UserError):
            call()
