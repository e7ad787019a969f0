"""The sparse step against dense float64 autograd, for every activation, kind and prefix; and what it allocates."""

import itertools

import pytest
import torch

from radiograph.dictionaries.training._losses import Objective
from radiograph.dictionaries.training._step import step
from radiograph.dictionaries.training._weights import Weights

from .dense import losses

SIZE, ROWS = 64, 50
KINDS = {"sae": ((10,), (10,)), "transcoder": ((10,), (8,)), "skip": ((10,), (8,)), "crosscoder": ((6, 4), (6, 4))}
ACTIVATIONS = ("topk", "batchtopk", "jumprelu", "relu", "gated")
SELECT = "radiograph.dictionaries.training._step._select"


def problem(kind="sae", dtype=torch.float64, rows=ROWS, size=SIZE, free_norms=None):
    """Rows, targets and weights of a dictionary of some kind."""
    g = torch.Generator().manual_seed(0)
    (*_,), (*_,) = KINDS[kind]
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
    weights = Weights(
        encoder, decoder, 0.1 * draw(size) - 0.3, c, c if kind == "sae" else draw(d_out), skip, parameters
    )
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
        true = (
            torch.zeros_like(leaf)
            if leaf.grad is None or (name, aim.activation) == ("encoder_bias", "gated")
            else leaf.grad
        )
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
