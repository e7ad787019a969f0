"""The sparse step against dense float64 autograd, for every activation, kind and prefix; and what it allocates."""

import itertools
import logging

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from radiograph.dictionaries.training._losses import Objective
from radiograph.dictionaries.training._step import Buffers, step
from radiograph.dictionaries.training._weights import Weights

from .dense import losses

SIZE, ROWS = 64, 50
KINDS = {"sae": ((10,), (10,)), "transcoder": ((10,), (8,)), "skip": ((10,), (8,)), "crosscoder": ((6, 4), (6, 4))}
ACTIVATIONS = ("topk", "batchtopk", "jumprelu", "relu", "gated")
SELECT = "radiograph.dictionaries.training._step._select"


def problem(kind="sae", dtype=torch.float64, rows=ROWS, size=SIZE, free_norms=None):
    """Rows, targets and weights of a dictionary of some kind."""
    g = torch.Generator().manual_seed(0)
    d_in, d_out = (sum(widths) for widths in KINDS[kind])

    def draw(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    decoder = draw(size, d_out)
    free = kind == "crosscoder" if free_norms is None else free_norms
    decoder /= decoder.norm(dim=1, keepdim=True) * (1 if not free else 1 + torch.rand(size, 1, generator=g))
    encoder = draw(size, d_in) / d_in**0.5
    inputs = 2 * draw(rows, d_in) + 1
    targets = inputs.clone() if kind in ("sae", "crosscoder") else draw(rows, d_out)
    c = draw(d_in)
    skip = 0.2 * draw(d_out, d_in) if kind == "skip" else None
    names = ("threshold", "gate_bias", "magnitude_bias", "magnitude_log_scale")
    parameters = {name: 0.3 * torch.rand(size, generator=g, dtype=torch.float64) for name in names}
    g_ = c if kind == "sae" else draw(d_out)
    weights = Weights(encoder, decoder, 0.1 * draw(size) - 0.3, c, g_, skip, parameters)
    return inputs.to(dtype), targets.to(dtype), weights.map(lambda tensor: tensor.to(dtype))


def objective(activation, kind="sae", **changes):
    widths = KINDS[kind][1]
    columns = torch.cat([torch.full((w,), 1 / (len(widths) * (w + 3.0))) for w in widths])
    given = {"k": 4, "sparsity": 0.3, "target_l0": 6.0, "target_widths": widths} | changes
    return Objective(activation=activation, column_weights=columns.double(), **given)


def only(weights, activation):
    """The parameters that an activation has."""
    names = {"jumprelu": ("threshold",), "gated": ("gate_bias", "magnitude_bias", "magnitude_log_scale")}
    weights.parameters = {name: weights.parameters[name] for name in names.get(activation, ())}
    if activation == "gated":
        weights.encoder_bias.zero_()
    return weights


def compare(inputs, targets, weights, aim, dead, tolerance, **more):
    """Losses, counts and every gradient equal those of dense autograd in float64."""
    leaves = weights.map(lambda tensor: tensor.double().clone().requires_grad_())
    terms, z = losses(inputs.double(), targets.double(), leaves, aim, dead)
    sum(terms.values()).backward()
    found = step(inputs, targets, weights, aim, dead=dead, **more)
    for name, term in terms.items():
        assert found.losses[name] == pytest.approx(float(term.detach()), rel=tolerance, abs=1e-12), name
    assert found.active == pytest.approx(float((z > 0).double().sum(1).mean()))
    assert torch.equal(found.fired, (z > 0).any(0))
    assert found.gradients.tied == weights.tied
    for name, leaf in leaves.tensors.items():
        # Gated dictionaries keep an encoder bias of 0: gate and magnitude have their own.
        stays = leaf.grad is None or (name, aim.activation) == ("encoder_bias", "gated")
        true = torch.zeros_like(leaf) if stays else leaf.grad
        error = (found.gradients.tensors[name].double() - true).norm()
        assert float(error) <= tolerance * float(true.norm()), (name, float(error), float(true.norm()))
    return found


FAMILY = ("topk", "batchtopk")
CASES = [
    (activation, kind, prefixes, selection, path)
    for activation, kind, prefixes in itertools.product(ACTIVATIONS, KINDS, ((), (8, 24, SIZE)))
    for selection in ("value", "decoder_norm")
    if selection == "value" or activation in (*FAMILY, "jumprelu")
    for path in ("sparse", "dense")
    if path == "sparse" or activation not in FAMILY
]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-5)])
@pytest.mark.parametrize(("activation", "kind", "prefixes", "selection", "path"), CASES)
def test_gradients_equal_dense_autograd(activation, kind, prefixes, selection, path, dtype, tolerance, monkeypatch):
    monkeypatch.setattr(f"{SELECT}.BUFFER_BYTES", {"cpu": SIZE * 8 * 7})
    monkeypatch.setattr(f"{SELECT}.DENSE_SHARE", 1.0 if path == "sparse" else 0.0)
    inputs, targets, weights = problem(kind, dtype, free_norms=selection == "decoder_norm" or kind == "crosscoder")
    aim = objective(activation, kind, prefixes=prefixes, selection=selection)
    for dead in (torch.arange(0), torch.tensor([1, 5, 9]), torch.arange(SIZE)[-20:]):
        compare(inputs, targets, only(weights, activation), aim, dead, tolerance)
        if activation not in FAMILY:
            break


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_gradients_do_not_depend_on_chunks_or_on_what_buffers_hold(activation, monkeypatch):
    inputs, targets, weights = problem()
    aim = objective(activation, prefixes=(16, SIZE))
    weights = only(weights, activation)
    buffers = Buffers()
    results = []
    for rows, bound in ((1, 0.0), (7, 1.0), (ROWS, 1e3)):
        monkeypatch.setattr(f"{SELECT}.BUFFER_BYTES", {"cpu": rows * SIZE * 8})
        buffers.bound = bound
        found = step(inputs, targets, weights, aim, dead=torch.arange(50, SIZE), buffers=buffers)
        results.append((found, found.gradients.map(torch.clone)))
    (first, gradients), *others = results
    for found, other in others:
        assert found.losses == pytest.approx(first.losses)
        assert (found.active, found.bound) == pytest.approx((first.active, first.bound), rel=1e-12)
        for name, tensor in gradients.tensors.items():
            assert torch.allclose(other.tensors[name], tensor, atol=1e-12), name


def test_dense_chunks_and_sparse_chunks_mix(monkeypatch, caplog):
    inputs, _, weights = problem()
    inputs[::2] = weights.input_bias - 9 * weights.encoder.sum(0)  # every second chunk fires little
    monkeypatch.setattr(f"{SELECT}.BUFFER_BYTES", {"cpu": SIZE * 8})
    monkeypatch.setattr(f"{SELECT}.DENSE_SHARE", 0.3)
    aim, buffers = objective("relu", prefixes=(8, SIZE)), Buffers()
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            compare(inputs, inputs.clone(), only(weights, "relu"), aim, torch.arange(0), 1e-6, buffers=buffers)
    assert len(caplog.records) == 1
    assert "dense products" in caplog.text


def test_batchtopk_keeps_k_per_row_on_average_and_says_the_bound():
    inputs, targets, weights = problem()
    found = step(inputs, targets, only(weights, "batchtopk"), objective("batchtopk"), dead=torch.arange(0))
    assert found.active == 4.0
    scores = (inputs - weights.input_bias) @ weights.encoder.T + weights.encoder_bias
    assert found.bound == pytest.approx(float(scores.flatten().sort(descending=True).values[4 * ROWS - 1]))


class Allocations(TorchDispatchMode):
    """Elements of the largest tensor that any operation makes, but for views and tensors of a known size."""

    def __init__(self, *known):
        super().__init__()
        self.known, self.elements, self.where = set(known), 0, ""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        held = {self.memory(a) for a in (*args, *(kwargs or {}).values()) if isinstance(a, torch.Tensor)}
        for value in out if isinstance(out, tuple | list) else (out,):
            if isinstance(value, torch.Tensor) and self.memory(value) not in held:
                count = value.numel() if value.layout == torch.strided else len(value.values())
                if count not in self.known and count > self.elements:
                    self.elements, self.where = count, str(func)
        return out

    @staticmethod
    def memory(tensor):
        return (tensor if tensor.layout == torch.strided else tensor.values()).untyped_storage().data_ptr()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_neither_a_row_by_feature_table_nor_a_whole_gather_is_ever_allocated(activation, monkeypatch):
    # Fault 10: no [B, F] and no [B·k, d] tensor lives, in the sparse path that every CPU test uses.
    rows, size, width, k = 1024, 2048, 64, 24
    monkeypatch.setitem(KINDS, "sae", ((width,), (width,)))
    monkeypatch.setattr(f"{SELECT}.BUFFER_BYTES", {"cpu": width * size * 4})
    inputs, targets, weights = problem("sae", torch.float32, rows, size)
    weights = only(weights, activation)
    weights.encoder_bias -= 0 if activation == "gated" else 5.5
    for name in ("gate_bias", "magnitude_bias"):
        if name in weights.parameters:
            weights.parameters[name] -= 5.5
    # Gradients and one chunk of pre-activations have the size of a matrix of weights: 64 rows of features here.
    with Allocations(size * width) as seen:
        found = step(inputs, targets, weights, objective(activation, k=k, prefixes=(512, size)), dead=torch.arange(9))
    assert 10 < found.active < size / 16
    assert seen.elements < min(rows * size, rows * found.active * width) / 4, seen.where


def test_auxiliary_loss_by_hand():
    # Two rows, e = (0, 2) and (0, 0) while no live feature fires; the dead feature reads and writes (0, 1).
    eye = torch.eye(2, dtype=torch.float64)
    zero = torch.zeros(2, dtype=torch.float64)
    weights = Weights(eye.clone(), eye.clone(), torch.tensor([0.0, -9.0], dtype=torch.float64), zero, zero)
    rows = torch.tensor([[0.0, 2.0], [0.0, 0.0]], dtype=torch.float64)
    aim = Objective(activation="topk", k=1, auxiliary=0.5, column_weights=torch.ones(2))
    found = step(rows, rows, weights, aim, dead=torch.tensor([1]))
    # The dead feature's pre-activation is 2 - 9 < 0: it reconstructs nothing. mean e = (0, 1), so the ratio is 4 / 2.
    assert found.losses["auxiliary"] == pytest.approx(0.5 * 1.0 * 2.0)
    weights.encoder_bias[1] = -1.0
    found = step(rows, rows, weights, aim, dead=torch.tensor([1]))
    # Now feature 1 is also the live one: code 1, residual (0, 1), which the same code 1 explains wholly.
    assert found.losses["auxiliary"] == pytest.approx(0.0)
    assert found.fired.tolist() == [False, True]


def test_auxiliary_loss_adds_no_decoder_bias_and_topk_no_l1():
    # Fault 3: a bias in ê would move the loss when the bias and the rows move together.
    inputs, targets, weights = problem()
    aim, dead = objective("topk", sparsity=7.0), torch.arange(40, SIZE)
    here = step(inputs, targets, only(weights, "topk"), aim, dead=dead)
    weights.input_bias += 100
    there = step(inputs + 100, targets + 100, weights, aim, dead=dead)
    assert there.losses == pytest.approx(here.losses)
    assert here.losses["sparsity"] == 0 < here.losses["auxiliary"]


def test_residual_that_does_not_vary_gives_no_auxiliary_loss():
    inputs, targets, weights = problem(rows=1)
    found = step(inputs, targets, only(weights, "topk"), objective("topk"), dead=torch.arange(50, SIZE))
    assert found.losses["auxiliary"] == 0.0
    assert all(bool(tensor.isfinite().all()) for tensor in found.gradients.tensors.values())


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_row_that_is_not_finite_gives_a_loss_that_is_not(activation):
    inputs, _, weights = problem()
    inputs[3, 2] = torch.nan
    found = step(inputs, inputs.clone(), only(weights, activation), objective(activation), dead=torch.arange(0))
    assert not found.losses["reconstruction"] < float("inf")


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_rows_on_which_nothing_fires_train_the_bias_alone(activation):
    inputs, targets, weights = problem()
    weights = only(weights, activation)
    weights.encoder_bias -= 1e3
    weights.parameters.get("gate_bias", torch.zeros(1)).sub_(1e3)
    found = step(inputs, targets, weights, objective(activation), dead=torch.arange(0))
    assert (found.active, found.bound, int(found.fired.sum())) == (0, 0, 0)
    assert float(found.gradients.encoder.abs().sum()) == 0
    assert float(found.gradients.decoder_bias.norm()) > 0
