"""KL against explicit sums over the vocabulary."""

from __future__ import annotations

import math

import pytest
import torch

from radiograph.detectors.measure._divergence import divergence, kl
from radiograph.models import Pair, forward, log_probs, pad


def explicit(pair, ids):
    """Position by position, token by token, in float64."""
    ours, theirs = (forward(m, pad([ids]))[0].double() for m in (pair.reference, pair.candidate))
    found = []
    for t in range(len(ids) - 1):
        p = [math.exp(x) for x in (theirs[t] - theirs[t].max()).tolist()]
        q = [math.exp(x) for x in (ours[t] - ours[t].max()).tolist()]
        p, q = [x / sum(p) for x in p], [x / sum(q) for x in q]
        found.append(sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)))
    return found


def test_mean_and_maximum_equal_explicit_sums(pair, banks):
    sequences = [banks.tokens[0], banks.tokens[-1], banks.neutral_tokens[0], banks.tokens[3][:2]]
    found = divergence(pair, sequences)
    for row, ids in enumerate(sequences):
        values = explicit(pair, ids)
        assert found.mean[row] == pytest.approx(sum(values) / len(values), rel=1e-4)
        assert found.largest[row] == pytest.approx(max(values), rel=1e-4)
        assert found.positions[row] == len(ids) - 1
    assert found.tokens == 2 * sum(map(len, sequences))


def test_it_is_the_candidate_against_the_reference(pair, banks):
    there, back = divergence(pair, banks.tokens[:3]), divergence(Pair(pair.candidate, pair.reference), banks.tokens[:3])
    assert all(abs(a - b) > 1e-3 for a, b in zip(there.mean, back.mean, strict=True))


def test_equal_models_diverge_by_exactly_zero(pair, banks):
    found = divergence(Pair(pair.candidate, pair.candidate), banks.tokens)
    assert set(found.mean) == set(found.largest) == {0.0}


def test_a_single_token_predicts_nothing(pair):
    found = divergence(pair, [(3,)])
    assert (found.mean, found.positions) == ([0.0], [0])


def test_rows_beyond_the_shared_vocabulary_do_not_count():
    left = torch.randn(1, 2, 7).log_softmax(-1)
    assert torch.equal(kl(left, torch.cat([left, torch.zeros(1, 2, 3)], -1)), torch.zeros(1, 2).double())


@pytest.mark.parametrize("batch_tokens", [1, 10_000])
def test_batches_do_not_matter(pair, banks, batch_tokens, monkeypatch):
    from radiograph.detectors.measure import _divergence

    usual = divergence(pair, banks.tokens[:20])
    monkeypatch.setattr(_divergence, "log_probs", lambda m, s: log_probs(m, s, batch_tokens=batch_tokens))
    assert divergence(pair, banks.tokens[:20]).mean == pytest.approx(usual.mean, rel=1e-4)
