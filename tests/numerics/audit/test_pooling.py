"""Pooling: the first token is left out, a lone one is kept, and sparse entries give the dense answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radiograph.core import UserError
from radiograph.numerics import pool, pool_sparse, skip_first

lengths = st.lists(st.integers(1, 6), min_size=1, max_size=6).map(np.array)


@given(lengths=lengths, seed=st.integers(0, 99))
def test_pooling_is_the_mean_of_each_prompt_without_its_first_token(lengths, seed):
    activations = np.random.default_rng(seed).normal(size=(lengths.sum(), 3)) * 100
    start, expected = 0, []
    for length in lengths:
        tokens = activations[start : start + length]
        expected.append(tokens[1:].mean(axis=0) if length > 1 else tokens[0])
        start += length
    np.testing.assert_allclose(pool(activations, lengths), expected, rtol=1e-12)


@given(lengths=lengths, seed=st.integers(0, 99), masked=st.booleans())
def test_sparse_entries_pool_as_dense_activations(lengths, seed, masked):
    rng = np.random.default_rng(seed)
    dense = rng.random((lengths.sum(), 5)) * (rng.random((lengths.sum(), 5)) < 0.3)
    kept = skip_first(lengths)
    if masked:
        kept = rng.random(len(dense)) < 0.5
        kept[np.cumsum(lengths) - 1] = True
    token, feature = np.nonzero(dense)
    order = rng.permutation(len(token))
    sparse = pool_sparse(token[order], feature[order], dense[token, feature][order], lengths, 5, kept)
    np.testing.assert_allclose(sparse, pool(dense, lengths, kept), atol=1e-12)


def test_layouts_that_do_not_fit_are_errors():
    with pytest.raises(UserError, match="add up"):
        pool(np.zeros((3, 2)), np.array([1, 1]))
    with pytest.raises(UserError, match="keeps no token"):
        pool(np.zeros((3, 2)), np.array([1, 2]), np.array([True, False, False]))
    with pytest.raises(UserError, match="not finite"):
        pool(np.full((3, 2), np.inf), np.array([3]))
