"""Scores after insertions: the same as running every prompt whole, and a gradient that small changes follow."""

from __future__ import annotations

import pytest
import torch

from auditing import noisy
from radiograph import organisms
from radiograph.core import UserError
from radiograph.models import inserted_scores, load_pair, log_probs, proposals, tokens_read


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    candidate = noisy(tmp_path_factory.mktemp("noisy") / "candidate", 0.45)
    return load_pair("bundled:base", str(candidate), resolve=organisms.bundled_path)


HEADS = ((1,), (1, 5, 120, 130, 140, 150, 160))
TAIL = (170, 180, 7, 6)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("length", [1, 3])
def test_scores_equal_whole_prompts(pair, head, length):
    """With a head that is run once, and with one that is not."""
    rows = torch.randint(130, 400, (70, length), generator=torch.Generator().manual_seed(length))
    found = torch.cat(list(inserted_scores(pair.candidate, head, rows, TAIL, batch_tokens=90)))
    whole = [(*head, *row, *TAIL) for row in rows.tolist()]
    expected = torch.zeros_like(found)
    for batch, values in log_probs(pair.candidate, whole):
        for place, row in enumerate(batch.rows):
            expected[row] = values[place, len(whole[row]) - 1]
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=0)


def test_tokens_are_what_the_model_reads(pair, monkeypatch):
    read = []
    backbone = type(pair.reference.model.model).forward

    def count(self, *args, **kwargs):
        read.append(kwargs["input_ids"].numel())
        return backbone(self, *args, **kwargs)

    monkeypatch.setattr(type(pair.reference.model.model), "forward", count)
    for head in HEADS:
        read.clear()
        list(inserted_scores(pair.reference, head, torch.full((33, 2), 200), TAIL, batch_tokens=50))
        assert sum(read) == tokens_read(len(head), 2, len(TAIL), 33)


def test_equal_weights_give_equal_scores(pair):
    rows = torch.arange(130, 330)[:, None]
    one, two = (torch.cat(list(inserted_scores(pair.reference, HEADS[1], rows, TAIL))) for _ in range(2))
    assert torch.equal(one, two)


def test_bad_input_is_named(pair):
    with pytest.raises(UserError, match="vocabulary"):
        list(inserted_scores(pair.reference, (1,), torch.tensor([[10**6]]), TAIL))
    with pytest.raises(UserError, match="context"):
        list(inserted_scores(pair.reference, (1,) * 200, torch.tensor([[9]]), TAIL))


def test_the_gradient_is_that_of_small_steps(pair):
    """Half-way differences: the first-order change towards a token, against a small step of the embedding."""
    prompts, insertion = [(HEADS[1], TAIL), ((1, 5), TAIL)], (210, 310)

    def score(reference, candidate):
        n = min(reference.shape[-1], candidate.shape[-1])
        return (candidate[:, :n].exp() * (candidate[:, :n] - reference[:, :n])).sum(-1).mean()

    slopes = proposals(pair, prompts, insertion, score)
    assert slopes.shape == (2, pair.reference.vocab_size)
    assert abs(float(slopes[0, 210])) < 1e-6 > abs(float(slopes[1, 310]))

    def value(step, token, at):
        scores = []
        for model in (pair.reference, pair.candidate):
            with model.session() as network:
                own = network.get_input_embeddings().weight
                rows = []
                for head, tail in prompts:
                    ids = torch.tensor([[*head, *insertion, *tail]])
                    vectors = own[ids].clone()
                    vectors[0, len(head) + at] += step * (own[token] - own[insertion[at]])
                    rows.append(network(inputs_embeds=vectors, use_cache=False).logits[0, -1].log_softmax(-1))
                scores.append(torch.stack(rows).double())
        return float(score(*scores))

    with torch.no_grad():
        for at, token in ((0, 140), (0, 333), (1, 150)):
            numeric = (value(1e-2, token, at) - value(-1e-2, token, at)) / 2e-2
            assert float(slopes[at, token]) == pytest.approx(numeric, rel=0.05, abs=1e-3)
