"""Identities of splicing: a perfect codec costs nothing, a silent one costs what ablation costs."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from models.make import network, prompts
from radiograph.core import ExitCode, Refusal, UserError
from radiograph.interventions import SpliceLosses, splice_losses, splices
from radiograph.models import capture, cross_entropy, edit, logits, pad, wrap
from radiograph.numerics.sparse import codes_of_dense, dense

WIDTH = 32


@dataclass
class Dense:
    """A codec whose features are the units themselves; `factor` 0 makes it silent."""

    sites: tuple[str, ...] = ("resid_post.1",)
    width: int = WIDTH
    factor: float = 1.0
    hash: str = "0"
    writes: tuple[str, ...] | None = None

    @property
    def targets(self):
        return self.writes or self.sites

    @property
    def target_width(self):
        return self.width

    @property
    def size(self):
        return self.width

    def encode(self, rows):
        return codes_of_dense(rows * self.factor)

    def decode(self, codes, rows=None):
        return dense(codes)

    def reconstruct(self, rows):
        return self.decode(self.encode(rows), rows)


TOKENS = prompts(9)


@pytest.fixture(scope="module")
def model():
    return wrap(network("llama"))


@pytest.fixture(scope="module")
def other():
    return wrap(network("llama", seed=5))


def hooks(model):
    return [m for m in model.model.modules() if m._forward_hooks or m._forward_pre_hooks]


@pytest.mark.parametrize("site", ["embed", "resid_pre.0", "resid_mid.1", "attn_z.1", "mlp_out.2", "resid_post.1"])
def test_identity_costs_nothing(model, site):
    losses = splice_losses(model, Dense(sites=(site,)), TOKENS)
    assert losses.delta_ce == pytest.approx(0, abs=1e-6)
    assert losses.kl() == pytest.approx(0, abs=1e-6)
    assert losses.ce("clean") == pytest.approx(float(torch.cat(cross_entropy(model, TOKENS)).mean()), abs=1e-6)
    assert hooks(model) == []


def test_silence_costs_what_zero_ablation_costs(model):
    losses = splice_losses(model, Dense(factor=0.0), TOKENS)
    assert losses.ce("spliced") == losses.ce("zero")
    assert losses.kl() == losses.kl("zero") > 0
    assert abs(losses.delta_ce) > 0.05


@pytest.mark.parametrize("factor", [0.0, 0.3, 3.0])
def test_reconstruction_plus_its_error_is_the_clean_run(model, factor):
    losses = splice_losses(model, Dense(factor=factor), TOKENS)
    assert losses.ce("exact") == pytest.approx(losses.ce("clean"), abs=1e-5)
    assert losses.ce("spliced") != losses.ce("clean")


def test_losses_and_divergence_agree_with_whole_distributions(model):
    """A second way: one row at a time, everything in float64."""
    site = model.sites("resid_post.1")[0]
    found = splice_losses(model, Dense(factor=0.5), TOKENS)
    for row, ids in enumerate(TOKENS):
        (_, clean), *_ = logits(model, [ids])
        (_, half), *_ = logits(model, [ids], edits={site: lambda values: values * 0.5})
        p, q = (v[0, :-1].double().log_softmax(-1) for v in (clean, half))
        target = torch.tensor(ids[1:])[:, None]
        assert found.nats["spliced"][row] == pytest.approx(-float(q.gather(1, target).sum()), rel=1e-5)
        assert found.divergence["spliced"][row] == pytest.approx(float((p.exp() * (p - q)).sum()), rel=1e-4, abs=1e-6)
    assert found.n_tokens == sum(len(ids) - 1 for ids in TOKENS)


def test_only_kept_positions_are_touched(model):
    none = [[False] * len(row) for row in TOKENS]
    last = [[False] * (len(row) - 1) + [True] for row in TOKENS]
    with pytest.raises(UserError, match="nothing to splice"):
        splice_losses(model, Dense(), TOKENS, none)
    # What happens at the last position can change no prediction that is scored.
    losses = splice_losses(model, Dense(factor=0.0), TOKENS, last)
    assert losses.ce("spliced") == losses.ce("zero") == losses.ce("mean") == losses.ce("clean")
    assert losses.n_spliced == len(TOKENS)
    first = [[True] + [False] * (len(row) - 1) for row in TOKENS]
    assert splice_losses(model, Dense(factor=0.0), TOKENS, first).delta_ce != 0


def test_losses_do_not_depend_on_batch_plan_or_order(model):
    whole = splice_losses(model, Dense(factor=0.5), TOKENS)
    single = splice_losses(model, Dense(factor=0.5), TOKENS[::-1], batch_tokens=1)
    for name in ("clean", "spliced", "exact", "zero", "mean"):
        assert single.nats[name][::-1] == pytest.approx(whole.nats[name], abs=1e-4)


def test_several_codecs_share_the_clean_run(model):
    names = {"half": Dense(factor=0.5), "none": Dense(factor=0.0)}
    both = splices({"reference": model}, names, TOKENS)
    for name, codec in names.items():
        alone = splice_losses(model, codec, TOKENS)
        assert np.array_equal(both[name].nats["spliced"], alone.nats["spliced"])
        assert np.array_equal(both[name].divergence["zero"], alone.divergence["zero"])
    with pytest.raises(UserError, match="the same sources"):
        splices({"reference": model}, {"a": Dense(), "b": Dense(sites=("resid_post.0",))}, TOKENS)


def test_transcoder_writes_its_target_from_what_it_reads(model):
    """A second way: capture the input, compute the output, put it there by hand."""
    codec = Dense(sites=("mlp_in.1",), writes=("mlp_out.1",), factor=0.7)
    found = splice_losses(model, codec, TOKENS)
    read, write = model.sites("mlp_in.1")[0], model.sites("mlp_out.1")[0]
    by_hand = 0.0
    for ids in TOKENS:
        values = capture(model, pad([ids]), [read])[read]
        with edit(model, {write: lambda _, values=values: values * 0.7}):
            by_hand += float(torch.cat(cross_entropy(model, [ids])).double().sum())
    assert found.ce("spliced") == pytest.approx(by_hand / found.n_tokens, abs=1e-5)
    assert found.ce("exact") == pytest.approx(found.ce("clean"), abs=1e-5)
    assert hooks(model) == []


def test_crosscoder_is_spliced_source_by_source_into_its_own_model(model, other):
    """Rows of every model are clean; a swap of the two halves shows which model's rows are read and written."""

    class Swap(Dense):
        def reconstruct(self, rows):
            left, right = rows.split(WIDTH, dim=1)
            return torch.cat([right, left], 1)

    sites = ("reference/resid_post.1", "candidate/resid_post.1")
    models = {"reference": model, "candidate": other}
    identity = Dense(sites=sites, width=2 * WIDTH)
    for target, own, foreign in ((sites[0], model, other), (sites[1], other, model)):
        assert splices(models, {"x": identity}, TOKENS, target=target)["x"].delta_ce == pytest.approx(0, abs=1e-6)
        found = splices(models, {"x": Swap(sites=sites, width=2 * WIDTH)}, TOKENS, target=target)["x"]
        site = own.sites("resid_post.1")[0]
        by_hand = 0.0
        for ids in TOKENS:
            values = capture(foreign, pad([ids]), [site])[site]
            with edit(own, {site: lambda _, values=values: values}):
                by_hand += float(torch.cat(cross_entropy(own, [ids])).double().sum())
        assert found.ce("spliced") == pytest.approx(by_hand / found.n_tokens, abs=1e-5)
        assert found.ce("clean") == pytest.approx(float(torch.cat(cross_entropy(own, TOKENS)).mean()), abs=1e-5)
    assert hooks(model) == hooks(other) == []


def test_crosscoder_of_layers_reads_them_all_clean(model):
    sites = ("resid_post.0", "resid_post.2")
    identity = Dense(sites=sites, width=2 * WIDTH)
    for target in sites:
        found = splices({"reference": model}, {"x": identity}, TOKENS, target=target)["x"]
        assert found.delta_ce == pytest.approx(0, abs=1e-6)
        assert found.ce("zero") == splice_losses(model, Dense(sites=(target,)), TOKENS).ce("zero")


def test_hooks_are_gone_even_after_an_error(model):
    class Broken(Dense):
        def reconstruct(self, rows):
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken") as caught:
        splice_losses(model, Broken(), TOKENS)
    assert hooks(model) == []
    del caught


def test_recovered_by_hand_and_refused_without_a_gap():
    def nats(**means):
        return {how: np.array([4.0 * mean, 6.0 * mean]) for how, mean in means.items()}

    losses = SpliceLosses(
        tokens=np.array([4, 6]),
        n_spliced=10,
        nats=nats(clean=2.0, spliced=2.5, exact=2.0, zero=4.0, mean=3.0),
        divergence=nats(spliced=0.5, zero=2.0, mean=1.0),
    )
    assert (losses.delta_ce, losses.recovered_zero, losses.recovered_mean) == (0.5, 0.75, 0.5)
    assert losses.recovered_kl == 0.75
    narrow = replace(losses, nats={**losses.nats, **nats(mean=2.04)}, divergence=nats(spliced=0.01, zero=0.04))
    assert narrow.recovered_zero == 0.75
    for refused in (narrow.recovered_mean, narrow.recovered_kl):
        assert isinstance(refused, Refusal)
        assert refused.exit_code is ExitCode.NOT_MEASURED


def test_what_does_not_fit_is_named(model):
    with pytest.raises(UserError, match="width 33"):
        splice_losses(model, Dense(width=33), TOKENS)
    with pytest.raises(UserError, match="outside the model"):
        splice_losses(model, Dense(sites=("resid_post.3",)), TOKENS)
    with pytest.raises(UserError, match="do not fit the tokens"):
        splice_losses(model, Dense(), TOKENS, [[True]] * len(TOKENS))
    pair = Dense(sites=("resid_post.0", "resid_post.1"), width=2 * WIDTH)
    with pytest.raises(UserError, match="one target"):
        splice_losses(model, pair, TOKENS)
    with pytest.raises(UserError, match="does not write"):
        splices({"reference": model}, {"x": pair}, TOKENS, target="resid_post.2")
    with pytest.raises(UserError, match=r"no model for candidate/resid_post.1"):
        splice_losses(model, Dense(sites=("candidate/resid_post.1",)), TOKENS)
