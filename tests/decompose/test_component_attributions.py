"""Direct effects over data: toys in closed form, brute force on a language model, the same sums however divided."""

import numpy as np
import pytest
import torch
from torch import nn

from decompose.planted import base, planted, tokens_of
from radiograph import decompose
from radiograph.decompose.attribution import Effects, attribute_batch
from radiograph.decompose.importance import Size, new
from radiograph.models.linearised import Aim, Linearised
from radiograph.models.masked import Factors, of_model, of_network
from radiograph.numerics.cofiring import as_real

BITS = 28


def _toy():
    generator = torch.Generator().manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 5, bias=False), nn.Linear(5, 4, bias=False)).double()
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    target = of_network(network, {"w_in": "0", "w_out": "1"}, sha256="0" * 64, name="toy")
    factors = {
        "w_in": Factors(
            torch.randn(6, 7, generator=generator).double(), torch.randn(7, 5, generator=generator).double()
        ),
        "w_out": Factors(
            torch.randn(5, 3, generator=generator).double(), torch.randn(3, 4, generator=generator).double()
        ),
    }
    sizes = {"w_in": Size(6, 7), "w_out": Size(5, 3)}
    judge = new("scalar", {"hidden": 1}, sizes, generator, {})
    return target, decompose.make(target, factors, judge, stored="F64")


def test_d10_12_effects_of_a_two_layer_linear_toy_are_mean_h_times_u_v():
    target, made = _toy()
    inputs = torch.randn(40, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = Effects.empty(10, 1, 4)
    attribute_batch(
        found, target, made, inputs, torch.ones(40, dtype=torch.bool), {"w_in": [0], "w_out": [0, 1, 2]}, live=True
    )
    h = inputs @ made.factors["w_in"].reads
    edge = (made.factors["w_in"].writes @ made.factors["w_out"].reads).numpy()
    signed = as_real(found.sums["components.signed"], BITS)
    assert np.allclose(signed[:7, 7:] / 40, h.mean(0).numpy()[:, None] * edge, atol=1e-6)
    assert not signed[:, :7].any() and not signed[7:].any(), "a source stands before its target"
    y = (target.network[0](inputs) @ made.factors["w_out"].reads).detach().numpy()
    brute = np.einsum("nc,ct,nt->ct", h.numpy(), edge, np.sign(y))
    assert np.allclose(as_real(found.sums["components.abs"], BITS)[:7, 7:], brute, atol=1e-6)


def test_d10_12_abs_equals_signed_where_the_target_never_changes_sign():
    target, made = _toy()
    inputs = torch.ones(12, 6, dtype=torch.float64) * torch.linspace(0.5, 2, 12, dtype=torch.float64)[:, None]
    found = Effects.empty(10, 1, 4)
    attribute_batch(found, target, made, inputs, torch.ones(12, dtype=torch.bool), {"w_out": [0, 1, 2]}, live=True)
    signed, size = (as_real(found.sums[f"components.{name}"], BITS)[:7, 7:] for name in ("signed", "abs"))
    y = (target.network[0](inputs[:1]) @ made.factors["w_out"].reads).detach().numpy()
    assert np.allclose(size, np.sign(y) * signed, atol=1e-6)


@pytest.fixture(scope="module")
def language():
    model = base()
    target = of_model(model)
    made = planted(model, tokens_of(model, ["the", "a", "was"]))
    luck = np.random.default_rng(0)
    return target, made, torch.from_numpy(luck.integers(10, model.vocab_size, (3, 7)))


AIMS = {"embed": [0], "up.1": [0, 2], "down.1": [1]}


def _effects(language, rows, residual=True):
    target, made, ids = language
    found = Effects.empty(made.size, target.model.vocab_size, target.place("embed").outputs)
    marks = torch.ones(ids[rows].shape, dtype=torch.bool)
    attribute_batch(found, target, made, ids[rows], marks, AIMS, residual=residual)
    found.counted, found.shards = int(marks.sum()), tuple(rows)
    return found


@pytest.fixture(scope="module")
def whole(language):
    return _effects(language, [0, 1, 2])


def test_dd_9_signed_and_abs_equal_brute_force_over_positions(language, whole):
    """The edges of every position by themselves, added up with and without the sign of their target."""
    target, made, ids = language
    for weight, index in (("up.1", 0), ("up.1", 2), ("down.1", 1)):
        signed, size = np.zeros(made.size), np.zeros(made.size)
        by_token = np.zeros(target.model.vocab_size)
        for row in ids:
            cut = Linearised.of(target, made.factors, row, copies=1)
            for position in range(len(row)):
                aim = Aim(weight, position, index)
                value, _ = cut.pull([aim])
                edges = np.concatenate([value.components[w][0].sum(0).numpy() for w in made.factors])
                signed += edges
                size += np.sign(cut.value(aim)) * edges
                np.add.at(by_token, row.numpy(), value.delta["embed"][0].numpy())
        column = made.offsets[weight] + index
        for name, expected in (("components.signed", signed), ("components.abs", size), ("tokens.signed", by_token)):
            assert np.allclose(as_real(whole.sums[name], BITS)[:, column], expected, atol=1e-4), name


def test_effects_on_logits_are_kept_in_residual_space(language, whole):
    target, made, ids = language
    out = as_real(whole.sums["out.components"], BITS)
    unembedding = target.matrix("unembed").double().numpy()
    token = 100
    brute = np.zeros(made.size)
    direction = torch.zeros(target.model.vocab_size)
    direction[token] = 1
    for row in ids:
        cut = Linearised.of(target, made.factors, row, copies=1)
        for position in range(len(row)):
            value, _ = cut.pull([Aim("logits", position, direction=direction)])
            brute += np.concatenate([value.components[w][0].sum(0).numpy() for w in made.factors])
    assert np.allclose(out @ unembedding[token], brute, atol=1e-3)
    up = slice(made.offsets["up.1"], made.offsets["up.1"] + 6)
    assert np.abs(out[: made.offsets["up.1"]]).sum() > 0 and not out[up].any(), "up writes into down, which is cut"


def test_padding_and_what_is_not_counted_change_nothing(language):
    target, made, ids = language
    plain = _effects(language, [0], residual=False)
    found = Effects.empty(made.size, target.model.vocab_size, target.place("embed").outputs)
    padded = torch.cat([ids[:1], ids[:1, :3]], dim=1)
    marks = torch.ones(padded.shape, dtype=torch.bool)
    marks[:, 7:] = False
    attribute_batch(found, target, made, padded, marks, AIMS, residual=False)
    for name, sums in plain.sums.items():
        assert np.allclose(as_real(found.sums[name], BITS), as_real(sums, BITS), atol=1e-4), name


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_d10_10_effects_are_the_same_bytes_however_shards_are_divided(language, workers, tmp_path):
    target, made, _ = language
    luck = np.random.default_rng(1)
    shape = made.size, target.model.vocab_size, 4
    shards = []
    for number in range(9):
        one = Effects.empty(*shape)
        one.sums = {n: luck.integers(-(2**40), 2**40, v.shape) for n, v in one.sums.items()}
        one.counted, one.shards = int(luck.integers(1, 9)), (number,)
        shards.append(one)
    for number, one in enumerate(shards):
        one.save(tmp_path / f"{number}.npz", "spec")

    def added(paths):
        total = Effects.empty(*shape)
        for path in paths:
            total.take(path)
        return total

    totals = []
    for count, order in ((1, np.arange(9)), (workers, luck.permutation(9))):
        held = [tmp_path / f"held-{n}.npz" for n in range(count)]
        for path, own in zip(held, np.array_split(order, count), strict=True):
            added(tmp_path / f"{number}.npz" for number in own).save(path, "spec")
        total = added(held)
        total.save(tmp_path / "found.npz", "spec")
        totals.append((tmp_path / "found.npz").read_bytes())
    assert totals[0] == totals[1]
