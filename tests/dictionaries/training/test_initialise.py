"""Where training starts, and what it does when."""

import pytest
import torch

from dictionaries.make import planted
from radiograph.dictionaries.training import TrainingConfig
from radiograph.dictionaries.training._initialise import geometric_median, initial_weights
from radiograph.dictionaries.training._rows import Batch, Places
from radiograph.dictionaries.training._schedule import annealed, logged, marks, ramp, rate_factor, resampled


def places(kind, inputs, targets):
    widths = {name: int(name.rpartition("_")[2]) for name in (*inputs, *targets)}
    return Places(kind, inputs, targets, widths)


def start(kind, inputs, targets, batch, **changes):
    config = TrainingConfig(**({"size": 256, "k": 5, "kind": kind} | changes))
    return initial_weights(batch, places(kind, inputs, targets), config, 256, torch.Generator().manual_seed(0))


def reconstructed(weights, batch, k):
    pre = (batch.inputs - weights.input_bias) @ weights.encoder.T + weights.encoder_bias
    best = pre.topk(k, dim=1)
    return torch.zeros_like(pre).scatter(1, best.indices, best.values.clamp_min(0)) @ weights.decoder


def test_geometric_median_is_robust_and_finite_at_a_row():
    g = torch.Generator().manual_seed(0)
    rows = torch.randn(2001, 3, generator=g)
    rows[0] = rows[1:].mean(0)
    rows[1:100] += 1e4
    centre = geometric_median(rows)
    assert float(centre.norm()) < 0.3
    assert torch.equal(geometric_median(torch.ones(9, 2)), torch.ones(2))
    line = torch.tensor([[0.0], [1.0], [10.0]])
    assert float(geometric_median(line)) == pytest.approx(1.0, abs=1e-3)


def test_an_autoencoder_starts_tied_and_at_the_length_of_its_input():
    rows, _ = planted(2000)
    weights = start("sae", ("a_64",), ("a_64",), Batch(rows, rows))
    assert weights.tied
    written = reconstructed(weights, Batch(rows, rows), 5).norm(dim=1).mean()
    assert float(written) == pytest.approx(float((rows - weights.input_bias).norm(dim=1).mean()), rel=1e-3)
    assert torch.allclose(weights.decoder.norm(dim=1), torch.ones(256), atol=1e-6)
    cosine = torch.nn.functional.cosine_similarity(weights.encoder, weights.decoder)
    assert torch.allclose(cosine, torch.ones(256), atol=1e-5)


def test_a_transcoder_starts_centred_without_an_input_bias():
    rows, _ = planted(2000)
    batch = Batch(rows + 3, rows[:, :32] * 2 + 1)
    weights = start("transcoder", ("a_64",), ("b_32",), batch, skip=True)
    assert not weights.tied
    assert not bool(weights.input_bias.any())
    assert torch.allclose(weights.encoder_bias, -(weights.encoder @ batch.inputs.mean(0)), atol=1e-4)
    assert weights.skip.shape == (32, 64)
    assert not bool(weights.skip.any())
    written = reconstructed(weights, batch, 5).norm(dim=1).mean()
    assert float(written) == pytest.approx(float((batch.targets - weights.decoder_bias).norm(dim=1).mean()), rel=1e-3)


def test_a_crosscoder_starts_with_the_same_directions_at_every_source():
    rows, _ = planted(2000)
    both = torch.cat([rows, rows[:, :32], rows.flip(1)], dim=1)
    weights = start("crosscoder", ("a_64", "b_32", "c_64"), ("a_64", "b_32", "c_64"), Batch(both, both))
    first, second, third = weights.decoder.split([64, 32, 64], dim=1)
    assert torch.equal(first, third)
    for part in (first, second, third):
        assert torch.allclose(part.norm(dim=1), torch.ones(256), atol=1e-6)
    assert not weights.tied


@pytest.mark.parametrize(
    ("activation", "names"),
    [
        ("jumprelu", {"threshold"}),
        ("gated", {"gate_bias", "magnitude_bias", "magnitude_log_scale"}),
        ("relu", set()),
        ("batchtopk", set()),
    ],
)
def test_parameters_start_as_stated(activation, names):
    rows, _ = planted(500)
    weights = start("sae", ("a_64",), ("a_64",), Batch(rows, rows), activation=activation, k=None)
    assert weights.parameters.keys() == names
    if activation == "jumprelu":
        assert torch.equal(weights.parameters["threshold"], torch.full((256,), 0.1))


def test_rate_rises_holds_and_falls_to_zero():
    factors = [rate_factor(s, 1000) for s in range(1000)]
    assert factors[0] == pytest.approx(1 / 51)
    assert factors[50:799] == [1.0] * 749
    assert factors[-1] == pytest.approx(1 / 201)
    assert all(0 < rate_factor(s, n) <= 1 for n in (1, 2, 7) for s in range(n))
    assert [rate_factor(s, 10**6) for s in (999, 1000)] == [pytest.approx(1000 / 1001), 1.0]


def test_sparsity_ramps_over_a_twentieth():
    assert [ramp(s, 1000) for s in (0, 25, 50, 999)] == [0.0, 0.5, 1.0, 1.0]
    assert ramp(1, 3) == 1.0


def test_k_falls_linearly_and_fits_the_dictionary():
    assert [annealed(8, 0.5, s, 100, 256) for s in (0, 25, 49, 50, 99)] == [32, 20, 8, 8, 8]
    assert annealed(8, 0.5, 0, 100, 16) == 16
    assert annealed(8, 0.0, 0, 100, 16) == 8


def test_marks_end_with_the_run_and_are_logged():
    for steps in (1, 7, 20, 977, 12_345):
        assert max(marks(steps)) == steps
        assert len(marks(steps)) == min(20, steps)
        assert all(logged(step, steps) for step in marks(steps))
    assert sum(logged(step, 10**5) for step in range(1, 10**5 + 1)) <= 530
    assert [step for step in range(101) if resampled(step, 100)] == [20, 40, 60]
