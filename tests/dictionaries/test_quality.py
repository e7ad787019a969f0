"""Quality against its definition, computed at once in float64."""

import pytest
import torch

from radiograph.core import Refusal, UserError
from radiograph.dictionaries import evaluate, measure, random_control

from .make import planted, random_dictionary


@pytest.fixture(scope="module")
def rows():
    return planted(3000, directions=32, width=12, active=3)[0] + 2


@pytest.mark.parametrize("name", ["relu", "topk", "jumprelu"])
@pytest.mark.parametrize("batch", [1, 7, 4096])
def test_quality_is_its_definition_for_any_batch(name, batch, rows):
    d = random_dictionary(name)
    rows = rows[:500]
    z = d.encode_dense(rows)
    error = (rows - d.decode(d.encode(rows))).double()
    found = measure(d, rows.split(batch))
    q = found.quality
    assert q.fvu == pytest.approx(float(error.square().sum() / (rows.double() - rows.double().mean(0)).square().sum()))
    assert q.l0 == pytest.approx(float((z != 0).double().sum(1).mean()))
    assert q.variance == pytest.approx(float(rows.double().var(0, correction=0).sum()))
    fired = (z != 0).sum(0)
    assert (q.dead, q.dense) == (int((fired == 0).sum()), int((fired > 50).sum()))
    assert torch.equal(torch.from_numpy(found.codes.density), fired.double() / 500)
    assert found.codes.l1 == pytest.approx(float(z.double().abs().sum(1).mean()))
    assert found.reconstruction.fvu == q.fvu


def test_order_of_batches_changes_nothing(rows):
    d = random_dictionary()
    forward, backward = evaluate(d, rows.split(100)), evaluate(d, rows.split(100)[::-1])
    assert forward.fvu == pytest.approx(backward.fvu, rel=1e-12)
    assert (forward.l0, forward.dead, forward.dense) == (backward.l0, backward.dead, backward.dense)


def test_half_precision_rows_are_measured_as_the_values_they_hold(rows):
    d = random_dictionary()
    half = rows.bfloat16()
    assert evaluate(d, [half]) == evaluate(d, [half.float()])


def test_predicting_the_mean_has_fvu_one(rows):
    d = random_dictionary("relu")
    mean = rows.double().mean(0).float()
    silent = {"encoder": torch.zeros_like(d.encoder), "encoder_bias": -torch.ones(48), "decoder_bias": mean}
    q = evaluate(type(d)(**{**vars_of(d), **silent}), [rows])
    assert q.fvu == pytest.approx(1.0, abs=1e-6)
    assert (q.l0, q.dead) == (0, 48)


def vars_of(d):
    names = ("encoder", "decoder", "encoder_bias", "input_bias", "decoder_bias", "activation", "sites", "parameters")
    return {name: getattr(d, name) for name in names}


def test_rows_without_variance_are_refused():
    for rows, code in ((torch.ones(5, 12), "no_variance"), (torch.ones(0, 12), "no_rows")):
        with pytest.raises(Refusal) as refusal:
            evaluate(random_dictionary(), [rows])
        assert refusal.value.code == code


def test_values_that_are_not_finite_are_refused(rows):
    odd = rows.clone()
    odd[5, 5] = float("inf")
    with pytest.raises(UserError, match="not finite"):
        evaluate(random_dictionary(), [odd])


@pytest.mark.parametrize("name", ["relu", "topk", "jumprelu"])
def test_random_control_matches_sparsity_and_shares_nothing(name, rows, monkeypatch):
    d = random_dictionary(name)
    control = random_control(d, rows, seed=1)
    assert evaluate(control, [rows]).l0 == pytest.approx(evaluate(d, [rows]).l0, abs=1e-3)
    assert (control.size, control.sites, control.value_unit) == (d.size, d.sites, "write_norm")
    assert torch.equal(control.encoder, control.decoder)
    assert float((control.decoder @ d.decoder.T).diagonal().abs().max()) < 0.95
    assert random_control(d, rows, seed=1).hash == control.hash != random_control(d, rows, seed=2).hash
    monkeypatch.setattr("radiograph.dictionaries._dictionary.PREACTIVATION_BYTES", {"cpu": 48 * 4 * 50})
    parts = random_control(d, rows, seed=1).parameters["threshold"]
    assert torch.allclose(parts, control.parameters["threshold"], rtol=1e-5)


def test_random_control_needs_rows():
    with pytest.raises(UserError, match="needs rows"):
        random_control(random_dictionary(), torch.zeros(0, 12), seed=0)
