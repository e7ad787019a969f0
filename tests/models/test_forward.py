"""Batch size, padding side and order do not matter; the same plan gives the same bytes."""

import pytest
import torch

from radiograph.core import Site, UserError
from radiograph.models import batches, capture, cross_entropy, edit, log_probs, logits, pad, plan, stream, wrap

from . import make

SITES = [Site("resid_post", 1), Site("attn_z", 2), Site("mlp_in", 0)]


def by_row(model, tokens, **options):
    """Real positions of every row, in the caller's order."""
    rows = {}
    for batch, found in stream(model, tokens, SITES, **options):
        for i, row in enumerate(batch.rows):
            rows[row] = {site: value[i][batch.mask[i]] for site, value in found.items()}
    return [rows[i] for i in range(len(tokens))]


def assert_same(a, b):
    for left, right in zip(a, b, strict=True):
        for site in SITES:
            scale = right[site].square().mean().sqrt()
            assert (left[site] - right[site]).abs().max() <= 1e-5 * max(1.0, float(scale))


def test_batch_one_equals_batch_many_and_order_does_not_matter(model):
    tokens = make.prompts(16)
    alone = by_row(model, tokens, batch_tokens=1)
    assert_same(by_row(model, tokens, batch_tokens=10_000), alone)
    assert_same(by_row(model, tokens, batch_tokens=40), alone)
    assert_same(by_row(model, tokens[::-1], batch_tokens=40)[::-1], alone)


def test_left_right_and_no_padding_agree(model):
    tokens = make.prompts(5)
    for left in (False, True):
        batch = pad(tokens, left=left)
        found = capture(model, batch, SITES)
        rows = [{s: found[s][i][batch.mask[i]] for s in SITES} for i in range(len(tokens))]
        assert_same(rows, by_row(model, tokens, batch_tokens=1))


def test_equal_input_gives_equal_bytes(llama):
    tokens = make.prompts(9)
    for left, right in zip(by_row(llama, tokens), by_row(llama, tokens), strict=True):
        assert all(torch.equal(left[s], right[s]) for s in SITES)


def test_a_plan_is_a_partition_within_budget_and_wastes_little():
    generator = torch.Generator().manual_seed(3)
    lengths = torch.randint(1, 400, (500,), generator=generator).tolist()
    for budget in (1024, 4096, 8192):
        planned = plan(lengths, batch_tokens=budget)
        assert sorted(row for rows in planned for row in rows) == list(range(500))
        padded = [max(lengths[r] for r in rows) * len(rows) for rows in planned]
        assert max(padded) <= budget
        assert sum(padded) <= 1.05 * sum(lengths)
        assert len(planned) <= 2.1 * sum(lengths) / budget
    assert plan([5, 3, 5], 5) == [(1,), (0,), (2,)]
    assert plan([9], 5) == [(0,)]
    assert plan([1] * 5, 100, batch_rows=2) == [(0, 1), (2, 3), (4,)]
    assert plan([]) == []


def test_positions_count_real_tokens():
    batch = pad([[7, 8], [4, 5, 6, 9]], left=True)
    assert batch.positions.tolist() == [[0, 0, 0, 1], [0, 1, 2, 3]]
    assert batch.n_tokens == 6
    assert pad([[7, 8], [4, 5, 6]]).positions.tolist() == [[0, 1, 2], [0, 1, 2]]
    assert [b.rows for b in batches([[1], [2, 3], [4]], batch_tokens=2)] == [(0, 2), (1,)]


def test_cross_entropy_equals_a_loop_over_single_rows(model):
    tokens = make.prompts(6)
    losses = cross_entropy(model, tokens, batch_tokens=40)
    for ids, loss in zip(tokens, losses, strict=True):
        with torch.no_grad():
            table = model.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].log_softmax(-1)
        expected = torch.tensor([-table[i, ids[i + 1]] for i in range(len(ids) - 1)])
        torch.testing.assert_close(loss.clone(), expected, rtol=1e-5, atol=1e-5)


def test_log_probs_are_normalised_and_edits_reach_them(llama):
    tokens = make.prompts(3)
    for batch, values in log_probs(llama, tokens):
        torch.testing.assert_close(values.exp().sum(-1), torch.ones(batch.ids.shape))
    edits = {Site("mlp_out", 1): torch.zeros_like}
    with edit(llama, edits):
        wanted = [v.clone() for _, v in logits(llama, tokens)]
    for (_, value), other in zip(logits(llama, tokens, edits=edits), wanted, strict=True):
        assert torch.equal(value, other)
    assert cross_entropy(llama, tokens, edits=edits)[0].tolist() != cross_entropy(llama, tokens)[0].tolist()


def test_bad_tokens_are_refused_by_row(llama):
    with pytest.raises(UserError, match="row 1 has no tokens"):
        list(logits(llama, [[3], []]))
    with pytest.raises(UserError, match="row 1: token id 300"):
        list(logits(llama, [[3], [4, 300]]))
    with pytest.raises(UserError, match="row 0 is longer than the model's context"):
        cross_entropy(llama, [[3] * 65])


def test_values_that_are_not_finite_stop_with_row_position_site_index():
    model = wrap(make.network("llama"))
    tokens = [[5, 6, 7], [8, 9], [10, 11, 12, 13]]
    with torch.no_grad():
        model.model.get_input_embeddings().weight[9, 4] = float("nan")
    with pytest.raises(UserError, match=r"embed is not finite\n.*row 1, position 1, index 4"):
        list(stream(model, tokens, [Site("embed")]))
    with pytest.raises(UserError, match=r"logits is not finite\n.*row 1, position"):
        list(logits(model, tokens))
