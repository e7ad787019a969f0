"""Adam against torch's, block by block or whole; decoder rows at unit length; state that continues."""

import pytest
import torch

from radiograph.dictionaries.training import _optimiser
from radiograph.dictionaries.training._optimiser import Adam
from radiograph.dictionaries.training._weights import Weights


def make(seed, tied=True, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=g, dtype=dtype)

    c = draw(6)
    skip = None if tied else draw(6, 6)
    return Weights(draw(20, 6), draw(20, 6), draw(20), c, c if tied else draw(6), skip, {"threshold": draw(20).abs()})


def unit(weights):
    weights.decoder.div_(weights.decoder.norm(dim=1, keepdim=True))
    return weights


def by_hand(weights, gradients, optimiser, clip, unit_rows):
    """Project, clip, torch.optim.Adam, renormalise: one after the other on whole tensors."""
    given = gradients.map(torch.clone)
    if unit_rows:
        given.decoder -= (given.decoder * weights.decoder).sum(1, keepdim=True) * weights.decoder
    for name, tensor in weights.tensors.items():
        tensor.grad = given.tensors[name]
    norm = torch.nn.utils.clip_grad_norm_(list(weights.tensors.values()), clip)
    optimiser.step()
    if unit_rows:
        unit(weights)
    weights.parameters["threshold"].clamp_(min=0)
    return float(norm)


@pytest.mark.parametrize("unit_rows", [True, False])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.0, 0.999)])
@pytest.mark.parametrize("block", [1, 5 * 6 * 8, 2**20])
def test_update_equals_the_steps_taken_one_by_one(unit_rows, tied, betas, block, monkeypatch):
    monkeypatch.setattr(_optimiser, "BLOCK_BYTES", {"cpu": block})
    weights, other = unit(make(0, tied)), unit(make(0, tied))
    ours = Adam(weights, unit_rows=unit_rows, betas=betas)
    theirs = torch.optim.Adam(list(other.tensors.values()), betas=betas, eps=_optimiser.EPSILON)
    for number in range(6):
        gradients = make(number + 1, tied).map(lambda tensor, n=number: tensor * (0.01 if n % 2 else 1.0))
        rate = 0.1 / (number + 1)
        theirs.param_groups[0]["lr"] = rate
        norm = by_hand(other, gradients, theirs, 1.0, unit_rows)
        assert ours.update(weights, gradients, rate) == pytest.approx(norm, rel=1e-9)
        for name, tensor in weights.tensors.items():
            assert torch.allclose(tensor, other.tensors[name], atol=1e-12), name
    assert weights.tied == tied
    assert bool((weights.parameters["threshold"] >= 0).all())
    if unit_rows:
        assert torch.allclose(weights.decoder.norm(dim=1), torch.ones(20, dtype=torch.float64), atol=1e-14)


def test_a_gradient_along_the_decoder_moves_nothing():
    weights = unit(make(0))
    before = weights.decoder.clone()
    gradients = weights.map(torch.zeros_like)
    gradients.decoder = 5 * weights.decoder
    assert Adam(weights, unit_rows=True).update(weights, gradients, 1e-2) == pytest.approx(0, abs=1e-6)
    assert torch.allclose(weights.decoder, before, atol=1e-6)


def test_loaded_state_continues_to_the_same_bytes():
    whole, resumed = unit(make(0)), unit(make(0))
    first = Adam(whole, unit_rows=True)
    for number in range(4):
        first.update(whole, make(number + 1), 0.01)
        if number == 1:
            second = Adam(resumed, unit_rows=True)
            second.load_state_dict({name: tensor.clone() for name, tensor in first.state_dict().items()})
            for name, tensor in resumed.tensors.items():
                tensor.copy_(whole.tensors[name])
        if number > 1:
            second.update(resumed, make(number + 1), 0.01)
    for name, tensor in whole.tensors.items():
        assert torch.equal(tensor, resumed.tensors[name]), name


def test_a_gradient_that_is_not_finite_gives_a_norm_that_is_not():
    weights, gradients = unit(make(0)), make(1)
    gradients.encoder[0, 0] = torch.nan
    assert not Adam(weights, unit_rows=True).update(weights, gradients, 0.01) < float("inf")
