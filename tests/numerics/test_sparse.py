"""Sparse products against their dense definitions, and top-k against a stable sort."""

import pytest
import torch

from radiograph.numerics.sparse import (
    by_feature,
    codes_of,
    codes_of_dense,
    concatenate,
    dense,
    gather_sum,
    sampled_products,
    top_k,
)


def stable(scores, k):
    """The definition: sort by (value descending, index ascending), cut, order by index."""
    return scores.sort(dim=1, descending=True, stable=True).indices[:, :k].sort(dim=1).values


CASES = {
    "random": lambda g, n, f: torch.randn(n, f, generator=g),
    "tied": lambda g, n, f: torch.randint(-3, 4, (n, f), generator=g).float(),
    "all equal": lambda g, n, f: torch.ones(n, f),
    "all negative": lambda g, n, f: -torch.rand(n, f, generator=g) - 0.1,
    "mostly zero": lambda g, n, f: torch.randn(n, f, generator=g).clamp_min(2) - 2,
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("size", "k"), [(48, 5), (1024, 4), (1024, 8), (33, 33), (4096, 16)])
def test_top_k_is_exact_and_ties_go_to_the_lower_index(case, size, k):
    for seed in range(8):
        scores = CASES[case](torch.Generator().manual_seed(seed), 25, size)
        values, indices = top_k(scores, k)
        assert torch.equal(indices, stable(scores, k))
        assert torch.equal(values, scores.gather(1, indices))


def test_top_k_of_a_row_does_not_depend_on_its_batch():
    scores = torch.randint(0, 9, (64, 2048), generator=torch.Generator().manual_seed(3)).float()
    together = top_k(scores, 12)[1]
    alone = torch.cat([top_k(row.unsqueeze(0), 12)[1] for row in scores])
    assert torch.equal(together, alone)


@pytest.fixture
def problem():
    g = torch.Generator().manual_seed(0)
    scores = torch.randn(37, 96, generator=g, dtype=torch.float64)
    values, indices = top_k(scores, 7)
    return (
        values.clamp_min(0),
        indices,
        torch.randn(96, 12, generator=g, dtype=torch.float64),
        torch.randn(37, 12, generator=g, dtype=torch.float64),
    )


def test_products_equal_their_dense_definitions(problem):
    values, indices, table, rows = problem
    z = torch.zeros(37, 96, dtype=torch.float64).scatter(1, indices, values)
    assert torch.allclose(gather_sum(indices, values, table), z @ table, atol=1e-13)
    assert torch.allclose(sampled_products(rows, table, indices), (rows @ table.T).gather(1, indices), atol=1e-13)
    assert torch.allclose(by_feature(indices, 96).product(values, rows), z.T @ rows, atol=1e-13)
    assert torch.allclose(by_feature(indices, 96).sum(values), z.sum(0), atol=1e-13)


def test_sampled_products_do_not_depend_on_the_scratch_size(problem, monkeypatch):
    _, indices, table, rows = problem
    whole = sampled_products(rows, table, indices)
    monkeypatch.setattr("radiograph.numerics.sparse.SCRATCH_BYTES", 1)
    assert torch.allclose(whole, sampled_products(rows, table, indices), atol=1e-14)


def test_codes_round_trip_with_empty_rows():
    table = torch.tensor([[0.0, 2.0, 0.0, -1.0], [0.0, 0.0, 0.0, 0.0], [3.0, 0.0, 0.0, 0.0]])
    codes = codes_of_dense(table)
    assert codes.active.tolist() == [2, 0, 1]
    assert codes.rows.tolist() == [0, 0, 2]
    assert torch.equal(dense(codes), table)
    assert torch.equal(dense(concatenate([codes, codes])), torch.cat([table, table]))


def test_equally_long_rows_leave_their_zeros_out(problem):
    values, indices, table, _ = problem
    codes = codes_of(values, indices, 96)
    assert bool((codes.values > 0).all())
    assert torch.allclose(gather_sum(codes.indices, codes.values, table, codes.offsets), dense(codes) @ table)
