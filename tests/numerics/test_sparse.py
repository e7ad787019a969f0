"""Sparse products against their dense definitions, and the largest entries against a stable sort."""

import pytest
import torch

from radiograph.numerics.sparse import (
    BatchTop,
    by_feature,
    codes_of,
    codes_of_dense,
    concatenate,
    dense,
    fresh,
    gather_sum,
    linear,
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
SHAPES = [(48, 5), (1024, 4), (1024, 8), (33, 33), (4096, 16)]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("size", "k"), SHAPES)
def test_top_k_is_exact_and_ties_go_to_the_lower_index(case, size, k):
    scores = CASES[case](torch.Generator().manual_seed(size), 1000, size)
    values, indices = top_k(scores, k)
    assert torch.equal(values.sort(1, descending=True).values, scores.topk(k, dim=1).values)
    assert torch.equal(values, scores.gather(1, indices))
    assert torch.equal(indices[:200], stable(scores[:200], k))


def test_top_k_of_a_row_does_not_depend_on_its_batch():
    scores = torch.randint(0, 9, (64, 2048), generator=torch.Generator().manual_seed(3)).float()
    together = top_k(scores, 12)[1]
    alone = torch.cat([top_k(row.unsqueeze(0), 12)[1] for row in scores])
    assert torch.equal(together, alone)


def test_top_k_keeps_what_is_not_a_number_and_spares_the_other_rows():
    scores = torch.randn(6, 2048, generator=torch.Generator().manual_seed(0))
    odd = scores.clone()
    odd[2, 70:80] = torch.nan
    values, indices = top_k(odd, 8)
    assert bool(values[2].isnan().all())
    others = [0, 1, 3, 4, 5]
    assert torch.equal(indices[others], stable(scores, 8)[others])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("size", "k"), SHAPES)
@pytest.mark.parametrize("guess", [0.0, 0.5, 2.0])
def test_the_largest_of_a_batch_do_not_depend_on_parts_or_guess(case, size, k, guess):
    for seed in range(2):
        scores = CASES[case](torch.Generator().manual_seed(seed), 25, size)
        wanted = 25 * k
        order = scores.flatten().sort(descending=True, stable=True)
        best = order.indices[:wanted][order.values[:wanted] > 0].sort().values
        for part in (1, 7, 25):
            top = BatchTop(wanted, guess)
            for rows in scores.split(part):
                top.add(rows)
            found = top.finish()
            if found is None:
                assert guess > 0
                assert int((scores >= guess).sum()) < wanted
                continue
            assert torch.equal(found.place, best)
            assert torch.equal(found.score, scores.flatten()[best])


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_products_equal_their_dense_definitions(problem, dtype):
    values, indices, table, rows = problem
    tolerance = {"atol": 1e-13} if dtype == torch.float64 else {"rtol": 1e-5, "atol": 1e-5}
    z = torch.zeros(37, 96, dtype=torch.float64).scatter(1, indices, values)
    flat, offsets = indices.flatten().int(), torch.arange(0, 37 * 7 + 1, 7, dtype=torch.int32)
    place = torch.arange(37).repeat_interleave(7)
    values, table_, rows_ = values.to(dtype), table.to(dtype), rows.to(dtype)

    def close(found, true):
        assert found.dtype == dtype
        assert torch.allclose(found.double(), true, **tolerance)

    close(gather_sum(indices, values, table_), z @ table)
    close(gather_sum(flat, values.flatten(), table_, offsets), z @ table)
    close(sampled_products(rows_, table_, flat, offsets), (rows @ table.T).gather(1, indices).flatten())
    by = by_feature(flat, place, 96)
    close(by.product(values.flatten(), rows_), z.T @ rows)
    close(by.product(values.flatten(), rows_, add_to=torch.ones(96, 12, dtype=dtype)), 1 + z.T @ rows)
    close(by_feature(flat, place * 3, 96).product(values.flatten(), rows_, repeats=3), z.T @ rows)
    close(by.sum(values.flatten()), z.sum(0))


def test_products_without_an_entry_are_zero():
    none, rows, table = torch.zeros(0, dtype=torch.int32), torch.ones(3, 2), torch.ones(5, 2)
    by = by_feature(none, none.long(), 5)
    assert torch.equal(by.product(torch.zeros(0), rows), torch.zeros(5, 2))
    assert torch.equal(by.sum(torch.zeros(0)), torch.zeros(5))
    assert sampled_products(rows, table, none, torch.zeros(4, dtype=torch.int32)).shape == (0,)


def test_products_by_feature_do_not_need_mkl(problem, monkeypatch):
    values, indices, _, rows = problem
    by = by_feature(indices.flatten().int(), torch.arange(37).repeat_interleave(7), 96)
    fast = by.product(values.flatten(), rows)
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: False)
    assert torch.allclose(fast, by.product(values.flatten(), rows), atol=1e-13)


@pytest.mark.parametrize("onednn", [True, False])
def test_the_product_is_the_same_in_either_library(onednn, monkeypatch):
    if onednn and not torch.backends.mkldnn.is_available():
        pytest.skip("this build of torch has no oneDNN")
    monkeypatch.setattr("radiograph.numerics.sparse._linear._prefers_onednn", lambda: onednn)
    g = torch.Generator().manual_seed(0)
    rows, matrix, bias = (torch.randn(*shape, generator=g) for shape in ((30, 48), (70, 48), (70,)))
    true = rows.double() @ matrix.double().T + bias.double()
    out = torch.empty(30, 70)
    found = linear(rows, matrix, bias, out)
    assert (found.data_ptr() == out.data_ptr()) == (not fresh(rows))
    assert torch.allclose(found.double(), true, atol=1e-5)
    assert torch.equal(found[7:12], linear(rows, matrix, bias)[7:12])
    assert torch.allclose(linear(rows.double(), matrix.double(), bias.double()), true, atol=1e-12)


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
