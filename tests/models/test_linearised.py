"""Edges add up to their target, on every kind of norm and MLP, with one and with all weights decomposed."""

import pytest
import torch

from radiograph.core import Refusal
from radiograph.models import wrap
from radiograph.models.linearised import Aim, Linearised
from radiograph.models.masked import Factors, of_model

from . import make as foreign

IDS = torch.tensor([7, 3, 11, 3, 250])
FAMILIES = ["llama", "gpt2", "gpt_neox_parallel", "gemma2"]
"""RMSNorm with a gated MLP; LayerNorm with a plain one, fused and transposed; parallel blocks; norms after blocks."""


def target_of(family, double=True):
    network = foreign.network(family)
    return of_model(wrap(network.double() if double else network))


def parts_of(target, weights, size=6):
    generator = torch.Generator().manual_seed(0)
    parts = {}
    for weight in weights:
        place = target.place(weight)
        reads = torch.randn(place.inputs, size, generator=generator, dtype=target.dtype) / place.inputs**0.5
        writes = torch.randn(size, place.outputs, generator=generator, dtype=target.dtype) / size**0.5
        parts[weight] = Factors(reads, writes)
    return parts


def summed(pulled, row):
    return sum(
        float(e[row].sum()) for kind in (pulled.components, pulled.delta, pulled.embedded) for e in kind.values()
    )


@pytest.mark.parametrize("which", ["all", "one"])
@pytest.mark.parametrize("family", FAMILIES)
def test_dd_8_value_edges_and_bias_add_up_to_the_target(family, which):
    target = target_of(family)
    weights = [w for w in target.places if w not in ("embed", "unembed")] if which == "all" else ["v.1"]
    model = Linearised.of(target, parts_of(target, weights), IDS, copies=3)
    bias, logits = model.bias()
    for weight in weights:
        aims = [Aim(weight, 0, 0), Aim(weight, 2, 1), Aim(weight, 4, 5)]
        value, _ = model.pull(aims)
        for row, aim in enumerate(aims):
            whole = summed(value, row) + float(bias[weight][aim.position, aim.index])
            assert whole == pytest.approx(model.value(aim), abs=1e-9)
    direction = torch.zeros(300, dtype=torch.float64)
    direction[5], direction[9] = 1.0, -1.0
    aim = Aim("logits", 4, direction=direction)
    value, _ = model.pull([aim])
    assert summed(value, 0) + float(logits[4] @ direction) == pytest.approx(model.value(aim), abs=1e-9)


def test_d10_8_a_predicted_change_is_the_change_of_the_linearised_model():
    target = target_of("llama")
    model = Linearised.of(target, parts_of(target, ["v.0", "o.0", "up.0", "down.0", "q.1"]), IDS)
    aim = Aim("q.1", 4, 2)
    value, _ = model.pull([aim])
    edge = float(value.components["down.0"][0, 4, 3])
    leaves = model.leaves
    leaves.components["down.0"][0, 4, 3] *= 1.01
    moved, _ = model.at(leaves)
    assert float(moved["q.1"][4, 2]) - model.value(aim) == pytest.approx(0.01 * edge, rel=1e-3, abs=1e-12)


def test_d10_8_edges_are_those_of_brute_force():
    """Each leaf set to 0 alone, everything else as it was, on three components."""
    target = target_of("gpt2")
    model = Linearised.of(target, parts_of(target, ["v.0", "down.0", "up.1"]), IDS)
    aim = Aim("up.1", 3, 1)
    value, _ = model.pull([aim])
    for weight, position, index in (("down.0", 3, 0), ("v.0", 1, 2), ("v.0", 3, 4)):
        leaves = model.leaves
        leaves.components[weight][0, position, index] = 0
        without, _ = model.at(leaves)
        edge = float(value.components[weight][0, position, index])
        assert model.value(aim) - float(without["up.1"][3, 1]) == pytest.approx(edge, abs=1e-9)


def test_modulating_edges_come_of_queries_keys_and_gates_alone():
    target = target_of("llama")
    weights = [w for w in target.places if w not in ("embed", "unembed")]
    model = Linearised.of(target, parts_of(target, weights), IDS, copies=2)
    value, modulating = model.pull([Aim("o.1", 4, 0), Aim("down.1", 4, 0)])
    reached = (
        {w for w, e in modulating.components.items() if bool(e[0].any())},
        {w for w, e in modulating.components.items() if bool(e[1].any())},
    )
    assert reached == ({"q.1", "k.1"}, {"gate.1"})
    assert {w for w, e in value.components.items() if bool(e.any())} == {"v.1", "up.1"}
    assert not bool(modulating.components["k.1"][1].any())


def test_copies_change_nothing_and_nothing_is_left_behind():
    target = target_of("llama", double=False)
    parts = parts_of(target, ["v.0", "o.1", "down.1"])
    aims = [Aim("down.1", 4, n) for n in range(3)]
    together, _ = Linearised.of(target, parts, IDS, copies=3).pull(aims)
    alone = Linearised.of(target, parts, IDS)
    for row, aim in enumerate(aims):
        one, _ = alone.pull([aim])
        assert torch.allclose(one.components["v.0"][0], together.components["v.0"][row], atol=1e-5)
    assert not any(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in target.network.modules())


def test_a_norm_of_another_kind_is_refused():
    target = target_of("llama")
    norm = target.network.model.layers[1].input_layernorm
    norm.forward = lambda x: x * torch.tanh(x)
    with pytest.raises(Refusal, match=r"layers\.1\.input_layernorm"):
        Linearised.of(target, parts_of(target, ["v.0"]), IDS)
    assert not any(len(m._forward_hooks) for m in target.network.modules())
    live = Linearised.of(target, parts_of(target, ["v.0"]), IDS, live=True)
    assert bool(live.pull([Aim("logits", 4, direction=torch.ones(300).double())])[0].components["v.0"].any())
