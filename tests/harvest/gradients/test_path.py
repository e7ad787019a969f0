"""A point on the way from the reference to the candidate, and the weights afterwards."""

from __future__ import annotations

import copy

import pytest
import torch

from radiograph.core import Refusal
from radiograph.models import LanguageModel, Pair, load, wrap
from radiograph.models.gradients import on_path
from radiograph.organisms import bundled_path


@pytest.fixture(scope="module")
def whole() -> Pair:
    """A model, and one of which every weight was moved."""
    base = load("bundled:base", resolve=bundled_path)
    moved = copy.deepcopy(base.model)
    with torch.no_grad():
        for parameter in moved.parameters():
            parameter.mul_(1.5)
    return Pair(base, wrap(moved, base.tokenizer))


def weights(model: LanguageModel) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.parameters().items()}


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_p8_9_weights_of_a_whole_model_are_between_the_two_and_come_back(whole, share):
    start, end = weights(whole.reference), weights(whole.candidate)
    with on_path(whole, share) as model:
        assert torch.is_grad_enabled()
        for name, own in weights(model).items():
            torch.testing.assert_close(own, start[name] + share * (end[name] - start[name]))
    assert all(own.equal(end[name]) for name, own in weights(whole.candidate).items())
    assert all(own.equal(start[name]) for name, own in weights(whole.reference).items())


def test_p8_9_weights_come_back_after_an_error_too(whole):
    end = weights(whole.candidate)
    with pytest.raises(RuntimeError, match="stop"), on_path(whole, 0.5):
        raise RuntimeError("stop")
    assert all(own.equal(end[name]) for name, own in weights(whole.candidate).items())


def test_p8_9_a_tensor_whose_beginning_is_not_known_is_refused(whole):
    other = copy.deepcopy(whole.candidate.model)
    other.resize_token_embeddings(600)
    end = {name: p.detach().clone() for name, p in other.named_parameters()}
    pair = Pair(whole.reference, wrap(other, whole.reference.tokenizer))
    with pytest.raises(Refusal) as caught, on_path(pair, 0.25):
        raise AssertionError("never here")
    assert caught.value.code == "path_unknown" and caught.value.fix == "--at 1"
    assert all(p.equal(end[name]) for name, p in other.named_parameters())
    with on_path(pair, 1.0) as model:
        assert model is pair.candidate
