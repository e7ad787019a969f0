"""Training against planted truth: where it starts, how it goes on, what it returns."""

import pytest
import torch

from radiograph.core import ExitCode, UserError
from radiograph.dictionaries import Metadata, ModelIdentity
from radiograph.dictionaries.training import TrainingConfig, WorseThanMean, preset, train
from radiograph.dictionaries.training._initialise import geometric_median, initial_weights
from radiograph.dictionaries.training._rows import Rows, endless
from radiograph.dictionaries.training._schedule import rate_factor

from .make import HeldRows, planted


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


def test_first_reconstruction_has_the_length_of_the_input():
    rows, _ = planted(2000)
    w = initial_weights(rows, 256, 5, torch.Generator().manual_seed(0))
    codes = ((rows - w.bias) @ w.encoder.T).topk(5)
    written = torch.zeros(2000, 256).scatter(1, codes.indices, codes.values.clamp_min(0)) @ w.decoder
    assert float(written.norm(dim=1).mean()) == pytest.approx(float((rows - w.bias).norm(dim=1).mean()), rel=1e-3)
    assert torch.allclose(w.decoder.norm(dim=1), torch.ones(256), atol=1e-6)


def test_schedule_rises_holds_and_falls_to_zero():
    factors = [rate_factor(s, 1000) for s in range(1000)]
    assert factors[0] == pytest.approx(1 / 51)
    assert factors[50:799] == [1.0] * 749
    assert factors[-1] == pytest.approx(1 / 201)
    assert all(0 < rate_factor(s, n) <= 1 for n in (1, 2, 7) for s in range(n))
    assert [rate_factor(s, 10**6) for s in (999, 1000)] == [pytest.approx(1000 / 1001), 1.0]


def test_patience_is_within_its_bounds():
    assert TrainingConfig(tokens=1_000_000).patience == 65_536
    assert TrainingConfig(tokens=10_000_000).patience == 500_000
    assert TrainingConfig(tokens=10**9).patience == 10_000_000
    assert TrainingConfig(dead_after=7).patience == 7


def test_endless_batches_are_full_and_lose_no_row():
    rows = HeldRows(torch.arange(100.0).unsqueeze(1), validation=0.1)
    batches = endless(rows, rows.site, 16, seed=3)
    seen = torch.cat([next(batches) for _ in range(45)])
    assert seen.shape == (720, 1)
    assert torch.equal(seen.unique(), torch.arange(10.0, 100.0))
    assert set(seen.flatten().long().bincount(minlength=100)[10:].tolist()) == {8}


def short(**changes):
    return TrainingConfig(size=64, k=5, learning_rate=4e-3, tokens=60 * 512, batch=512, **changes)


@pytest.fixture(scope="module")
def small_rows():
    return HeldRows(planted(8192, directions=32, width=16, active=3)[0] + 3)


def test_same_seed_same_bytes_and_no_effect_of_the_global_generator(small_rows):
    first = train(small_rows, small_rows.site, short())
    torch.manual_seed(99)
    again = train(small_rows, small_rows.site, short())
    assert first.dictionary.hash == again.dictionary.hash
    assert first.log == again.log
    assert train(small_rows, small_rows.site, short(seed=1)).dictionary.hash != first.dictionary.hash


def test_scaling_the_rows_scales_the_codes_and_nothing_else(small_rows):
    plain = train(small_rows, small_rows.site, short()).dictionary
    scaled = HeldRows(torch.cat([small_rows.parts["validation"], small_rows.parts["train"]]) * 64)
    other = train(scaled, scaled.site, short()).dictionary
    assert other.metadata.training.scales[0] == pytest.approx(plain.metadata.training.scales[0] / 64)
    x = small_rows.parts["validation"]
    assert torch.allclose(other.encode_dense(x * 64), plain.encode_dense(x) * 64, rtol=1e-3, atol=1e-2)
    assert other.metadata.quality.fvu == pytest.approx(plain.metadata.quality.fvu, rel=1e-3)


def test_what_was_trained_says_how(small_rows):
    model = ModelIdentity(reference="bundled:base", tensors_sha256="a" * 64)
    out = train(small_rows, small_rows.site, short(), metadata=Metadata(model=model, bos="skip"))
    meta = out.dictionary.metadata
    assert (meta.model, meta.bos, meta.check) == (model, "skip", "native")
    assert (meta.training.steps, meta.training.rows, meta.training.batch) == (60, 60 * 512, 512)
    assert meta.quality.n_rows == small_rows.count("validation")
    assert meta.quality.fvu == pytest.approx(out.log[-1].fvu)
    assert out.dictionary.value_unit == "write_norm"
    assert [row.step for row in out.log] == list(range(3, 61, 3))
    assert out.log[-1].fvu < out.log[0].fvu


def test_silent_features_join_the_auxiliary_loss(small_rows):
    def last(auxiliary):
        changes = {"size": 512, "k": 2, "dead_after": 4096, "auxiliary": auxiliary}
        return train(small_rows, small_rows.site, short().model_copy(update=changes)).log[-1]

    without, with_aux = last(0.0), last(1 / 32)
    assert without.dead > 20
    assert with_aux.dead > 20
    assert without.auxiliary == 0 < with_aux.auxiliary


def test_held_rows_are_rows(small_rows):
    assert isinstance(small_rows, Rows)


def test_worse_than_the_mean_is_no_success():
    g = torch.Generator().manual_seed(0)
    rows = torch.randn(2000, 32, generator=g)
    rows[:200] = rows[:200] * 0.01 + torch.randn(32, generator=g)  # validation far from training, hardly varying
    with pytest.raises(WorseThanMean, match="worse than the mean") as error:
        train(HeldRows(rows), "resid_post.1", TrainingConfig(size=64, k=2, tokens=2048, batch=256, learning_rate=1e-4))
    assert error.value.exit_code is ExitCode.GATE_FAILED


def test_bad_input_is_named():
    good = planted(2000, width=16, directions=32)[0]
    odd = good.clone()
    odd[1500, 3] = float("nan")
    cases = {
        "not finite": (odd, "resid_post.1", {}),
        "do not vary": (torch.ones(500, 16), "resid_post.1", {}),
        "no rows of": (good, "resid_post.2", {}),
        "more active features": (good, "resid_post.1", {"k": 65}),
    }
    for message, (rows, site, changes) in cases.items():
        with pytest.raises(UserError, match=message):
            train(HeldRows(rows), site, short().model_copy(update=changes))
    with pytest.raises(UserError, match="no validation rows"):
        train(HeldRows(good, validation=0), "resid_post.1", short())
    with pytest.raises(UserError, match="did you mean minimal"):
        preset("minimall")


def test_preset_is_what_it_says():
    config = preset("minimal", seed=3)
    assert (config.features(64), config.k, config.batch, config.rate(256), config.seed) == (256, 16, 1024, 1e-3, 3)
    assert config.tokens <= 1_000_000


def recovered(dictionary, truth):
    return int(((truth @ dictionary.decoder.T).amax(1) > 0.9).sum())


def test_planted_directions_are_found_small():
    rows, truth = planted(16_384, directions=32, width=16, active=3)
    config = TrainingConfig(size=64, k=3, learning_rate=4e-3, tokens=300 * 1024, seed=7)
    found = train(HeldRows(rows), "resid_post.1", config).dictionary
    assert recovered(found, truth) >= 26
    assert found.metadata.quality.fvu < 0.15


@pytest.mark.slow
def test_planted_directions_are_found():
    rows, truth = planted(65_536 + 8192)
    config = TrainingConfig(size=256, k=5, learning_rate=2e-3, tokens=1500 * 1024, seed=7)
    found = train(HeldRows(rows, validation=1 / 9), "resid_post.1", config).dictionary
    assert recovered(found, truth) >= 116
    assert found.metadata.quality.fvu < 0.05
