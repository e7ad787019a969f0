"""Identities of splicing: a perfect codec costs nothing, a silent one costs what ablation costs."""

from dataclasses import dataclass, replace

import pytest
import torch

from models.make import network, prompts
from radiograph.core import ExitCode, Refusal, UserError
from radiograph.interventions import SpliceLosses, splice_losses
from radiograph.models import cross_entropy, wrap
from radiograph.numerics.sparse import codes_of_dense, dense


@dataclass
class Dense:
    """A codec whose features are the units themselves; `factor` 0 makes it silent."""

    sites: tuple[str, ...] = ("resid_post.1",)
    width: int = 32
    factor: float = 1.0
    hash: str = "0"

    @property
    def size(self):
        return self.width

    def encode(self, rows):
        return codes_of_dense(rows * self.factor)

    def decode(self, codes):
        return dense(codes)


TOKENS = prompts(9)


@pytest.fixture(scope="module")
def model():
    return wrap(network("llama"))


@pytest.mark.parametrize("site", ["embed", "resid_pre.0", "resid_mid.1", "attn_z.1", "mlp_out.2", "resid_post.1"])
def test_identity_costs_nothing(model, site):
    losses = splice_losses(model, Dense(sites=(site,)), TOKENS)
    assert losses.delta_ce == pytest.approx(0, abs=1e-6)
    assert losses.clean == pytest.approx(float(torch.cat(cross_entropy(model, TOKENS)).mean()), abs=1e-6)


def test_silence_costs_what_zero_ablation_costs(model):
    losses = splice_losses(model, Dense(factor=0.0), TOKENS)
    assert losses.spliced == losses.zero
    assert abs(losses.delta_ce) > 0.05


def test_only_kept_positions_are_touched(model):
    none = [[False] * len(row) for row in TOKENS]
    last = [[False] * (len(row) - 1) + [True] for row in TOKENS]
    with pytest.raises(UserError, match="nothing to splice"):
        splice_losses(model, Dense(), TOKENS, none)
    # What happens at the last position can change no prediction that is scored.
    losses = splice_losses(model, Dense(factor=0.0), TOKENS, last)
    assert losses.spliced == losses.zero == losses.mean == losses.clean
    assert losses.n_spliced == len(TOKENS)
    first = [[True] + [False] * (len(row) - 1) for row in TOKENS]
    assert splice_losses(model, Dense(factor=0.0), TOKENS, first).spliced != losses.clean


def test_losses_do_not_depend_on_batch_plan_or_order(model):
    whole = splice_losses(model, Dense(factor=0.5), TOKENS)
    single = splice_losses(model, Dense(factor=0.5), TOKENS[::-1], batch_tokens=1)
    for name in ("clean", "spliced", "zero", "mean"):
        assert getattr(single, name) == pytest.approx(getattr(whole, name), abs=1e-5)


def test_hooks_are_gone_even_after_an_error(model):
    class Broken(Dense):
        def decode(self, codes):
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        splice_losses(model, Broken(), TOKENS)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.model.modules())


def test_recovered_by_hand_and_refused_without_a_gap():
    losses = SpliceLosses(n_tokens=10, n_spliced=10, clean=2.0, spliced=2.5, zero=4.0, mean=3.0)
    assert (losses.delta_ce, losses.recovered_zero, losses.recovered_mean) == (0.5, 0.75, 0.5)
    narrow = replace(losses, mean=2.04)
    assert narrow.recovered_zero == 0.75
    assert isinstance(narrow.recovered_mean, Refusal)
    assert narrow.recovered_mean.exit_code is ExitCode.NOT_MEASURED


def test_what_does_not_fit_is_named(model):
    with pytest.raises(UserError, match="width 33"):
        splice_losses(model, Dense(width=33), TOKENS)
    with pytest.raises(UserError, match="outside the model"):
        splice_losses(model, Dense(sites=("resid_post.3",)), TOKENS)
    with pytest.raises(UserError, match="do not fit the tokens"):
        splice_losses(model, Dense(), TOKENS, [[True]] * len(TOKENS))
    with pytest.raises(UserError, match="one site"):
        splice_losses(model, Dense(sites=("resid_post.0", "resid_post.1")), TOKENS)
