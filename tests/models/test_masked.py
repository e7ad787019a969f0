"""Masked forwards: masks 1 and Δ 1 are the target, on every kind of layer; no hook stays."""

import pytest
import torch
from torch import nn

from models import make
from radiograph.core import UserError
from radiograph.models import wrap
from radiograph.models.masked import Factors, Mask, masked, of_model, of_network, recorded, run

IDS = torch.randint(0, 300, (2, 9), generator=torch.Generator().manual_seed(0))
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}
# GQA; transposed, fused and biased; interleaved; a scaled embedding; biases beside each other
FAMILIES = ["llama", "gpt2", "gpt_neox", "gemma2", "phi"]


def random_parts(target, size=7, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)

    def one(place):
        reads = torch.randn(place.inputs, size, generator=generator, dtype=dtype) * 0.1
        return Factors(reads, torch.randn(size, place.outputs, generator=generator, dtype=dtype) * 0.1)

    return {address: one(place) for address, place in target.places.items()}


def hooks(network):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in network.modules())


def far(found, expected):
    return float((found - expected).abs().max() / expected.abs().max())


@pytest.fixture(scope="module", params=FAMILIES)
def target(request):
    return of_model(wrap(make.network(request.param)))


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_d10_1_masks_one_and_delta_one_are_the_target(target, dtype):
    network = target.network.to(dtype)
    parts = random_parts(target, dtype=dtype)
    ones, lead = torch.ones(2, 9, 7, dtype=dtype), torch.ones(2, 9, dtype=dtype)
    some = torch.rand(2, 9, generator=torch.Generator().manual_seed(2)) < 0.5
    with torch.no_grad():
        expected = target.run(IDS)
        whole = run(target, IDS, parts, {w: Mask(None, 1.0) for w in parts})
        tensors = run(target, IDS, parts, {w: Mask(ones, lead) for w in parts})
        routed = run(target, IDS, parts, {w: Mask(ones, lead, some) for w in parts})
        nowhere = run(target, IDS, parts, {w: Mask(0 * ones, None, ~some & some) for w in parts})
        without = run(target, IDS, parts, {w: Mask() for w in parts})
    network.to(torch.float32)
    assert torch.equal(whole, expected) and torch.equal(nowhere, expected)
    assert far(tensors, expected) <= TOLERANCE[dtype] and far(routed, expected) <= TOLERANCE[dtype]
    assert far(without, expected) > 0.01
    assert hooks(network) == 0


def test_the_product_is_that_of_the_matrices_written_out(target):
    """A second derivation: replace the stored matrices by Σ m_c U_c V_cᵀ + m_Δ Δ and run the plain network."""
    parts = random_parts(target)
    places = target.places
    tied = {"embed", "unembed"} if places["unembed"].parameter == places["embed"].parameter else set()
    weights = [w for w in parts if w not in tied]
    m = {w: torch.rand(7, generator=torch.Generator().manual_seed(i)) for i, w in enumerate(weights)}
    state = {name: p.detach().clone() for name, p in target.model.parameters().items()}
    with torch.no_grad():
        found = run(target, IDS, parts, {w: Mask(m[w], 0.3) for w in weights})
        for w in weights:
            f = parts[w]
            delta = target.matrix(w) - (f.reads @ f.writes).T
            new = ((f.reads * m[w]) @ f.writes).T + 0.3 * delta
            address = target.model.weights[w]
            address.write(target.model.parameters()[address.parameter], new.T if w == "embed" else new)
        expected = target.run(IDS)
        for name, p in target.model.parameters().items():
            p.copy_(state[name])
    assert far(found, expected) < 2e-5


def test_no_hook_stays_after_an_exception(target):
    parts = random_parts(target)
    wrong = {w: Mask(torch.ones(3)) for w in parts}
    with pytest.raises(RuntimeError), masked(target, parts, wrong), torch.no_grad():
        target.run(IDS)
    assert hooks(target.network) == 0


def test_what_weights_read_is_recorded(target):
    with torch.no_grad(), recorded(target, list(target.places)) as record:
        target.run(IDS)
    assert torch.equal(record.inputs["embed"], IDS)
    for address, place in target.places.items():
        width = place.outputs if place.kind == "lookup" else place.inputs
        assert record.seen(address).shape == (2, 9, width)
    assert hooks(target.network) == 0


def toy():
    network = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    return of_network(network, {"w_in": "0", "w_out": "2"}, sha256="0" * 64, name="toy")


def test_an_identity_in_front_of_a_weight():
    target, x = toy(), torch.randn(5, 4)
    place = target.place("identity.w_out")
    factors = Factors(torch.randn(3, 2), torch.randn(2, 3))
    parts = {"identity.w_out": factors}
    with torch.no_grad():
        same = run(target, x, parts, {"identity.w_out": Mask(None, 1.0)})
        found = run(target, x, parts, {"identity.w_out": Mask(torch.tensor([0.5, 0.0]), None)})
        hidden = torch.relu(target.network[0](x))
        expected = target.network[2](0.5 * (hidden @ factors.reads[:, :1]) @ factors.writes[:1])
    assert (place.inputs, place.outputs) == (3, 3)
    assert torch.equal(same, target.run(x))
    assert torch.allclose(found, expected, atol=1e-6)


def test_unknown_weights_are_refused_with_what_there_is():
    with pytest.raises(UserError, match="w_in, w_out"):
        toy().place("down.0")


def test_a_quantised_weight_is_refused_by_name():
    model = wrap(make.network("llama"))
    layer = model.model.get_submodule("model.layers.1.mlp.down_proj")
    layer.weight = nn.Parameter(layer.weight.detach().to(torch.int8), requires_grad=False)
    with pytest.raises(UserError, match=r"down\.1 is quantised"):
        of_model(model)
