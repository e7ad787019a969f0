"""Training against planted truth, and what it refuses."""

import json

import pytest
import torch

from radiograph.core import ExitCode, UserError
from radiograph.dictionaries import Metadata, ModelIdentity, evaluate
from radiograph.dictionaries.training import TooFewRows, TrainingConfig, WorseThanMean, places, preset, train
from radiograph.numerics.sparse import top_k

from .make import planted
from .training.held import SOURCE, held, recovered


def short(**changes):
    return TrainingConfig(**({"size": 64, "k": 5, "learning_rate": 4e-3, "tokens": 60 * 512, "batch": 512} | changes))


@pytest.fixture(scope="module")
def small():
    return held(planted(8192, directions=32, width=16, active=3)[0] + 3)


def test_same_seed_same_bytes_and_no_effect_of_the_global_generator(small):
    first = train(small, short())
    torch.manual_seed(99)
    again = train(small, short())
    assert first.dictionary.hash == again.dictionary.hash
    assert first.log == again.log
    assert train(small, short(seed=1)).dictionary.hash != first.dictionary.hash


def test_scaling_the_rows_scales_the_codes_and_nothing_else(small):
    plain = train(small, short()).dictionary
    other = train(held(small.rows(SOURCE) * 64), short()).dictionary
    assert other.metadata.training.scales[0] == pytest.approx(plain.metadata.training.scales[0] / 64)
    x = small.rows(SOURCE, "validation")
    assert torch.allclose(other.encode_dense(x * 64), plain.encode_dense(x) * 64, rtol=1e-3, atol=1e-2)
    assert other.metadata.quality.fvu == pytest.approx(plain.metadata.quality.fvu, rel=1e-3)


def test_what_was_trained_says_how(small):
    model = ModelIdentity(reference="bundled:base", tensors_sha256="a" * 64)
    out = train(small, short(), metadata=Metadata(model=model, bos="skip"))
    meta = out.dictionary.metadata
    assert (meta.model, meta.bos, meta.check) == (model, "skip", "native")
    assert (meta.training.steps, meta.training.rows, meta.training.batch) == (60, 60 * 512, 512)
    assert meta.training.data_sha256 == small.index.sha256
    assert meta.quality.n_rows == small.count("validation")
    assert meta.quality.fvu == pytest.approx(out.log[-1].fvu)
    assert out.dictionary.value_unit == "write_norm"
    assert out.dictionary.sites == ("resid_post.1",)
    assert [row.step for row in out.log] == list(range(1, 61))
    assert [row.step for row in out.log if row.fvu is not None] == list(range(3, 61, 3))
    held_out = [row.fvu for row in out.log if row.fvu is not None]
    assert held_out[-1] < held_out[0]


def test_quality_is_that_of_validation_rows_as_they_are(small):
    out = train(small, short())
    again = evaluate(out.dictionary, [small.rows(SOURCE, "validation")])
    assert out.dictionary.metadata.quality == again
    assert out.target_fvu == (again.fvu,)


def test_silent_features_join_the_auxiliary_loss(small):
    def last(auxiliary):
        return train(small, short(size=512, k=2, dead_after=4096, auxiliary=auxiliary)).log[-1]

    without, with_aux = last(0.0), last(1 / 32)
    assert without.dead > 20
    assert with_aux.dead > 20
    assert without.auxiliary == 0 < with_aux.auxiliary


def test_batchtopk_ends_as_jumprelu_with_the_l0_that_was_asked_for(small):
    out = train(small, short(activation="batchtopk", k=3, tokens=300 * 512))
    assert out.dictionary.activation.name == "jumprelu"
    assert out.dictionary.metadata.training.activation == "batchtopk"
    assert out.dictionary.metadata.quality.l0 == pytest.approx(3, rel=0.05)
    assert not out.cautions
    rows = small.rows(SOURCE, "train")
    scores = out.dictionary.preactivations(rows).flatten()
    theta = out.dictionary.parameters["threshold"]
    assert bool((theta == theta[0]).all())
    assert int((scores > theta[0]).sum()) == pytest.approx(3 * len(rows), rel=1e-3)


def test_l0_far_from_k_on_validation_rows_is_a_caution(small):
    rows = small.rows(SOURCE).clone()
    rows[:819] = rows[:819].mean(0) + 0.4 * (rows[:819] - rows[:819].mean(0))
    out = train(held(rows), short(activation="batchtopk", k=3, tokens=200 * 512))
    assert [c.code for c in out.cautions] == ["l0_off"]


@pytest.mark.parametrize("activation", ["topk", "batchtopk", "jumprelu", "relu", "gated"])
def test_a_dictionary_goes_on_from_itself(small, activation):
    budget = {"topk": {"k": 3}, "batchtopk": {"k": 3}, "jumprelu": {"k": None, "l0": 3.0}}.get(activation, {"k": None})
    first = train(small, short(activation=activation, **budget)).dictionary
    begun = short(activation=activation, tokens=512, learning_rate=1e-9, **budget)
    again = train(small, begun, begin_with=first).dictionary
    for name, tensor in first.tensors.items():
        if activation != "batchtopk" or name != "threshold":
            assert torch.allclose(again.tensors[name], tensor, rtol=1e-4, atol=1e-4), name
    with pytest.raises(UserError, match="another shape"):
        train(small, begun.model_copy(update={"size": 32}), begin_with=first)


def test_running_average_is_kept_where_it_is_asked_for(small):
    last, mean = (train(small, short(ema=ema, tokens=200 * 512)).dictionary for ema in (0.0, 0.99))
    assert mean.hash != last.hash
    assert mean.value_unit == "write_norm"
    assert mean.metadata.quality.fvu == pytest.approx(last.metadata.quality.fvu, rel=0.1)


def test_k_falls_to_its_value(small):
    log = train(small, short(k=3, k_anneal=0.5)).log
    assert log[0].l0 == 12
    assert all(row.l0 == 3 for row in log[31:])


@pytest.mark.parametrize(("activation", "strength"), [("relu", 1.0), ("gated", 2.0)])
def test_dead_features_start_again_where_it_is_asked_for(small, activation, strength):
    def trained(resample):
        config = short(activation=activation, k=None, sparsity=strength, dead_after=2048, resample=resample)
        out = train(small, config.model_copy(update={"tokens": 120 * 512}))
        return {row.step: row.dead for row in out.log}, out.dictionary.metadata.quality.fvu

    (left, fvu), (again, better) = trained(False), trained(True)
    assert left[72] > 0 == again[72]
    assert better < fvu


@pytest.fixture(scope="module")
def two_sites():
    """Rows of two sites that hold the same planted codes; the second is wider and five times as long."""
    g = torch.Generator().manual_seed(5)
    chosen = torch.rand(8192, 32, generator=g).topk(3, dim=1).indices
    codes = torch.zeros(8192, 32).scatter(1, chosen, 1 + torch.rand(8192, 3, generator=g))
    first, second = (torch.nn.functional.normalize(torch.randn(32, d, generator=g), dim=1) for d in (16, 24))
    return held({"reference/mlp_in.1": codes @ first + 1, "reference/mlp_out.1": 5 * codes @ second - 2}), (
        first,
        second,
    )


@pytest.mark.parametrize("skip", [False, True])
def test_a_transcoder_writes_another_site(two_sites, skip):
    activations, (_, written) = two_sites
    steps = 200 if skip else 600
    config = short(kind="transcoder", input="mlp_in.1", target="mlp_out.1", k=3, tokens=steps * 512, skip=skip)
    found = train(activations, config.model_copy(update={"learning_rate": 1e-2})).dictionary
    assert (found.sites, found.target, found.width, found.target_width) == (("mlp_in.1",), "mlp_out.1", 16, 24)
    assert found.value_unit == "write_norm"
    assert not bool(found.input_bias.any())
    assert (found.skip is not None) == skip
    x, y = (activations.rows(s, "validation") for s in ("mlp_in.1", "mlp_out.1"))
    fvu = float((y - found.reconstruct(x)).square().sum() / (y - y.mean(0)).square().sum())
    assert found.metadata.quality.fvu == pytest.approx(fvu, rel=1e-4)
    assert fvu < 0.4
    assert skip or recovered(found, written) >= 20  # the dense path takes what is linear
    assert found.metadata.training.target_scales[0] == pytest.approx(
        found.metadata.training.scales[0] * 5**-1 * (24 / 16) ** 0.5, rel=0.1
    )


@pytest.mark.parametrize(
    "activation",
    ["batchtopk", "relu", *(pytest.param(a, marks=pytest.mark.slow) for a in ("topk", "jumprelu", "gated"))],
)
def test_a_crosscoder_counts_every_source_the_same(two_sites, activation):
    activations, truth = two_sites
    budget = {"jumprelu": {"k": None, "l0": 3.0}, "relu": {"k": None}, "gated": {"k": None}}.get(activation, {"k": 3})
    out = train(activations, short(kind="crosscoder", activation=activation, tokens=400 * 512, **budget))
    found = out.dictionary
    assert (found.sites, found.widths) == (("mlp_in.1", "mlp_out.1"), (16, 24))
    assert found.selection == "value"
    assert found.metadata.quality.fvu == pytest.approx(sum(out.target_fvu) / 2)
    assert max(out.target_fvu) < 0.5
    assert ("l1_shrinkage" in [c.code for c in out.cautions]) == (activation == "relu")
    for part, directions in zip(found.split_targets(found.decoder), truth, strict=True):
        cosine = directions @ torch.nn.functional.normalize(part, dim=1).T
        assert int((cosine.amax(1) > 0.8).sum()) >= 20


def test_a_crosscoder_over_models_names_the_roles(small):
    rows = small.rows(SOURCE)
    both = held({"reference/resid_post.1": rows, "candidate/resid_post.1": rows * 2})
    found = train(both, short(kind="crosscoder", sources=("resid_post.1",), k=3)).dictionary
    assert found.sites == ("reference/resid_post.1", "candidate/resid_post.1")
    a, b = found.split_targets(found.decoder)
    assert torch.allclose(b, 2 * a, rtol=1e-3, atol=1e-4), "a copy at twice the length is written at twice the length"


def test_matryoshka_prefixes_reconstruct_alone(small):
    config = short(activation="batchtopk", k=3, matryoshka=(8, 64), tokens=300 * 512)
    found = train(small, config).dictionary
    assert found.metadata.training.prefixes == (8, 64)
    plain = train(small, config.model_copy(update={"matryoshka": ()})).dictionary

    def of_prefix(dictionary):
        x = small.rows(SOURCE, "validation")
        z = dictionary.encode_dense(x)[:, :8]
        rebuilt = z @ dictionary.decoder[:8] + dictionary.decoder_bias
        return float((x - rebuilt).square().sum() / (x - x.mean(0)).square().sum())

    assert of_prefix(found) < of_prefix(plain) - 0.1


def test_worse_than_the_mean_is_no_success():
    # Validation rows stand far from those of training and hardly vary: their mean is hard to beat.
    g = torch.Generator().manual_seed(0)
    rows = torch.randn(2000, 32, generator=g)
    rows[:200] = rows[:200] * 0.01 + torch.randn(32, generator=g)
    config = TrainingConfig(size=64, k=2, tokens=2048, batch=256, learning_rate=1e-4)
    with pytest.raises(WorseThanMean, match="worse than the mean") as error:
        train(held(rows), config)
    assert error.value.exit_code is ExitCode.GATE_FAILED
    assert error.value.log
    assert error.value.quality.fvu >= 1


def test_few_rows_are_a_caution_or_a_gate(small):
    config = short(size=1024)
    assert [c.code for c in train(small, config).cautions] == ["few_rows"]
    with pytest.raises(TooFewRows, match="7,360 training rows for 1,024 features") as error:
        train(small, config, require_rows=True)
    assert error.value.exit_code is ExitCode.GATE_FAILED


def test_rows_that_are_not_finite_or_do_not_vary_stop_training():
    rows = planted(2000, width=16, directions=32)[0]
    odd = held(rows.clone())
    assert odd.index.complete
    odd.rows(SOURCE)[1500, 3] = float("nan")  # after its statistics were taken: a harvest would have refused it
    with pytest.raises(UserError, match="not finite"):
        train(odd, short())
    with pytest.raises(UserError, match="do not vary"):
        train(held(torch.ones(500, 16)), short())
    with pytest.raises(UserError, match="no validation rows"):
        train(held(rows, validation=0), short())


def test_a_row_that_is_not_finite_is_named_in_the_middle_of_training(small):
    from radiograph.dictionaries.training.loop._train import _Loop
    from radiograph.dictionaries.training.workers import Alone

    loop = _Loop(small, short(), Alone(), require_rows=False)
    loop.advance()
    rows = torch.ones(4, 16)
    rows[2, 7] = float("inf")
    with pytest.raises(UserError, match="not finite") as error:
        loop.run.advance(loop.layout.batch([rows]))
    assert "step 1, worker 0, row 2 of the batch, column 7" in str(error.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 65}, "more active features"),
        ({"activation": "jumprelu", "k": None, "l0": 65.0}, "more active features"),
        ({"size": 1, "k": 1}, "at least two features"),
        ({"matryoshka": (32, 16)}, "matryoshka widths"),
        ({"matryoshka": (16, 32)}, "matryoshka widths"),
        ({"activation": "relu"}, "--k means nothing"),
        ({"l0": 3.0}, "--l0 means nothing"),
        ({"sparsity": 1.0}, "--sparsity means nothing"),
        ({"resample": True}, "--resample means nothing"),
        ({"skip": True}, "--skip means nothing"),
        ({"sources": ("resid_post.1",)}, "--sources means nothing"),
        ({"kind": "crosscoder"}, "reads several sources"),
        ({"kind": "transcoder"}, "needs a target"),
        ({"kind": "transcoder", "target": "resid_post.1"}, "another source than it reads"),
        ({"input": "resid_post.2"}, "no rows of resid_post.2"),
        ({"input": "candidate/resid_post.1"}, "no rows of candidate/resid_post.1"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_work(small, changes, message, monkeypatch):
    monkeypatch.setattr("radiograph.dictionaries.training.loop._train.sampled", None)
    with pytest.raises(UserError, match=message):
        train(small, short(**changes))


def test_several_sources_must_be_named(two_sites):
    activations, _ = two_sites
    with pytest.raises(UserError, match="which source"):
        train(activations, short())
    assert places(short(input="mlp_in.1"), activations).inputs == ("reference/mlp_in.1",)


def test_presets_are_what_they_say():
    config = preset("minimal", seed=3)
    assert (config.features(64), config.active, config.batch, config.rate(256), config.seed) == (256, 16, 1024, 1e-3, 3)
    assert config.steps(10**9) * config.batch <= 1_000_000 + config.batch
    big = preset("production")
    assert (big.features(64), big.active, big.batch, big.ema) == (1024, 32, 4096, 0.999)
    assert big.steps(50_000_000) == -(-50_000_000 // 4096)
    assert big.rate(16_384) == pytest.approx(2e-4)
    assert preset("production", activation="jumprelu").active == 32
    assert preset("production", activation="relu").strength == pytest.approx(0.1)
    with pytest.raises(UserError, match="did you mean minimal"):
        preset("minimall")


def test_patience_is_within_its_bounds():
    assert TrainingConfig(tokens=1_000_000).patience(0) == 65_536
    assert TrainingConfig(tokens=10_000_000).patience(0) == 500_000
    assert TrainingConfig(tokens=10**9).patience(0) == 10_000_000
    assert TrainingConfig(tokens=None).patience(10_000_000) == 500_000
    assert TrainingConfig(dead_after=7).patience(0) == 7


def test_config_survives_json():
    config = short(kind="crosscoder", sources=("a", "b"), matryoshka=(8, 64))
    assert TrainingConfig.model_validate(json.loads(config.model_dump_json())) == config


def test_planted_directions_are_found_small():
    rows, truth = planted(16_384, directions=32, width=16, active=3)
    found = train(held(rows), short(k=3, batch=1024, tokens=300 * 1024, seed=7)).dictionary
    assert recovered(found, truth) >= 26
    assert found.metadata.quality.fvu < 0.15


def test_random_directions_recover_nothing():
    # The chance level of the tests below: unit rows as many as the dictionary has, and none of 128 above 0.9.
    _, truth = planted(1)
    for seed in range(20):
        rows = torch.randn(256, 64, generator=torch.Generator().manual_seed(1000 + seed))
        rows /= rows.norm(dim=1, keepdim=True)
        cosine, _ = top_k(truth @ rows.T, 1)
        assert int((cosine > 0.9).sum()) == 0
        assert float(cosine.mean()) == pytest.approx(0.35, abs=0.03)


# activation and its budget, rows, active per row; directions found of 128, FVU on held-out rows below.
PLANTED = [
    ({"k": 5}, 65_536, 5, 125, 0.05),
    ({"activation": "batchtopk", "k": 5}, 65_536, 5, 116, 0.06),
    ({"k": 6}, 65_536, 6, 116, 0.065),
    ({"k": 5}, 2_000, 5, 116, 0.3),
    ({"activation": "jumprelu", "l0": 5.0}, 65_536, 5, 100, 0.1),
    ({"activation": "relu", "sparsity": 0.1}, 65_536, 5, 100, 0.1),
    ({"activation": "gated", "sparsity": 1.0}, 65_536, 5, 100, 0.3),
]


@pytest.mark.slow
@pytest.mark.parametrize(("changes", "n", "active", "least", "fvu"), PLANTED)
def test_planted_directions_are_found(changes, n, active, least, fvu):
    rows, truth = planted(n * 9 // 8, active=active)
    config = TrainingConfig(size=256, learning_rate=2e-3, tokens=1500 * 1024, seed=7, **changes)
    found = train(held(rows, validation=1 / 9), config).dictionary
    assert recovered(found, truth) >= least
    assert found.metadata.quality.fvu < fvu
