"""Captures stop early, edits reach everything downstream, and nothing is left behind."""

import threading

import pytest
import torch

from radiograph.core import Site, UserError
from radiograph.models import capture, current_batch, edit, forward, pad, reading, wrap
from radiograph.models._forward import stream

from . import make

ROWS = [[5, 6, 7, 8], [9, 10, 11, 12]]
POST0, POST1 = Site("resid_post", 0), Site("resid_post", 1)


def state(model):
    network = model.model
    return [m.training for m in network.modules()], [p.requires_grad for p in network.parameters()]


def calls(model):
    """Counts the forwards of each module without hooks, by wrapping `forward`."""
    seen: dict[str, int] = {}
    for name, module in model.model.named_modules():
        original = module.forward

        def counted(*args, _name=name, _original=original, **kwargs):
            seen[_name] = seen.get(_name, 0) + 1
            return _original(*args, **kwargs)

        module.forward = counted
    return seen


@pytest.mark.parametrize(
    ("site", "runs", "never"),
    [
        (Site("embed"), {"model.embed_tokens"}, {"model.layers.0"}),
        (
            Site("attn_z", 1),
            {"model.layers.0.mlp", "model.layers.1.self_attn.q_proj"},
            {"model.layers.1.self_attn.o_proj"},
        ),
        (Site("mlp_out", 1), {"model.layers.1.mlp.down_proj"}, {"model.layers.2", "model.norm", "lm_head"}),
        (Site("resid_post", 2), {"model.layers.2"}, {"model.norm", "lm_head"}),
        (Site("final_norm"), {"model.norm"}, {"lm_head"}),
    ],
)
def test_a_truncated_forward_never_runs_what_comes_later(site, runs, never):
    model = wrap(make.network("llama"))
    seen = calls(model)
    # The shallow site is listed last: order in the request does not matter.
    capture(model, pad(ROWS), [site, Site("embed")])
    assert runs <= set(seen)
    assert not never & set(seen)
    assert max(seen.values()) <= 3 or "model.layers.0.input_layernorm" in seen


def test_capturing_nothing_runs_nothing(llama):
    assert capture(llama, pad(ROWS), []) == {}


def test_captured_values_do_not_depend_on_what_else_is_captured(model):
    batch = pad(ROWS)
    together = capture(model, batch, [POST1, Site("attn_z", 0), Site("mlp_hidden", 1), POST0])
    for site, value in together.items():
        assert torch.equal(capture(model, batch, [site])[site], value)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_no_hook_or_flag_is_left_after_an_error_inside(llama, hooks, error):
    before = state(llama)

    def fail(_):
        raise error

    with pytest.raises(error), edit(llama, {POST1: fail, Site("attn_z", 0, 1): lambda x: x}):
        assert hooks(llama) == 2
        capture(llama, pad(ROWS), [Site("resid_post", 2), POST0])
    assert hooks(llama) == 0
    assert state(llama) == before
    assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    with pytest.raises(RuntimeError), reading(llama, [POST0]):
        raise RuntimeError
    assert hooks(llama) == 0


def test_an_abandoned_stream_leaves_no_hook(llama, hooks):
    running = stream(llama, make.prompts(), [POST0], batch_tokens=20)
    next(running)
    running.close()
    assert hooks(llama) == 0


def test_two_threads_capture_from_two_models_and_from_one(llama):
    other = wrap(make.network("gpt2"))
    batch = pad(ROWS)
    wanted = {id(m): capture(m, batch, [POST1])[POST1] for m in (llama, other)}
    wrong: list[str] = []

    def work(model):
        for _ in range(20):
            if not torch.equal(capture(model, batch, [POST1])[POST1], wanted[id(model)]):
                wrong.append(repr(model))

    threads = [threading.Thread(target=work, args=(m,)) for m in (llama, other, llama)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def sites_of(model):
    kinds = ["resid_pre", "attn_z", "attn_out", "mlp_in", "mlp_hidden", "mlp_out", "resid_post", "resid_mid"]
    if model.architecture.family.mid is None:
        kinds.remove("resid_mid")
    return [Site("embed"), *(Site(kind, 1) for kind in kinds), Site("attn_z", 1, 2), Site("final_norm")]


def test_an_edit_that_changes_nothing_changes_no_logit(model):
    batch = pad(ROWS)
    plain = forward(model, batch)
    with edit(model, {site: lambda x: x.clone() for site in sites_of(model)}):
        assert torch.equal(forward(model, batch), plain)
    assert torch.equal(forward(model, batch), plain)


def test_what_is_written_is_what_is_read_and_reaches_the_logits(model, hooks):
    batch = pad(ROWS)
    plain = forward(model, batch)
    for site in sites_of(model):
        new = torch.randn(2, 4, model.site_width(site))
        with edit(model, {site: lambda x, new=new: new}):
            assert torch.equal(capture(model, batch, [site])[site], new)
            assert not torch.allclose(forward(model, batch), plain)
    assert hooks(model) == 0


def test_a_written_resid_mid_moves_the_skip_connection_too(model):
    if model.architecture.family.mid is None:
        pytest.skip("parallel blocks have no resid_mid")
    batch, site = pad(ROWS), Site("resid_mid", 1)
    new = torch.randn(2, 4, model.width)
    with edit(model, {site: lambda _: new}):
        found = capture(model, batch, [Site("mlp_out", 1), POST1])
    torch.testing.assert_close(found[POST1], new + found[Site("mlp_out", 1)])


def test_ablating_attention_and_mlp_leaves_the_stream_as_it_entered(model):
    zero = {Site(kind, 1): torch.zeros_like for kind in ("attn_out", "mlp_out")}
    with edit(model, zero):
        found = capture(model, pad(ROWS), [Site("resid_pre", 1), POST1])
    torch.testing.assert_close(found[POST1], found[Site("resid_pre", 1)])


def test_a_head_edit_leaves_the_other_heads(llama):
    batch, site = pad(ROWS), Site("attn_z", 1, 2)
    before = capture(llama, batch, [Site("attn_z", 1)])[Site("attn_z", 1)]
    with edit(llama, {site: torch.zeros_like}):
        after = capture(llama, batch, [Site("attn_z", 1)])[Site("attn_z", 1)]
    columns = slice(2 * llama.head_dim, 3 * llama.head_dim)
    changed = before != after
    assert changed[..., columns].all() and int(changed.sum()) == changed[..., columns].numel()


def test_gradients_flow_through_reads_and_edits(model):
    batch = pad(ROWS)
    scale = torch.tensor(1.0, requires_grad=True)
    sites = [Site("mlp_out", 0), *([Site("resid_mid", 1)] if model.architecture.family.mid else [])]
    with edit(model, {site: lambda x: x * scale for site in sites}), reading(model, [POST1]) as found:
        with model.session() as network:
            loss = network(**batch.inputs(), use_cache=False).logits.square().mean()
        (gradient,) = torch.autograd.grad(loss, scale, retain_graph=True)
        (at_site,) = torch.autograd.grad(loss, found[POST1])

    def value(s):
        with edit(model, {site: lambda x: x * s for site in sites}):
            return forward(model, batch).square().mean()

    step = 1e-2
    difference = (value(1 + step) - value(1 - step)) / (2 * step)
    torch.testing.assert_close(gradient, difference.clone(), rtol=2e-2, atol=1e-3)
    assert at_site.shape == found[POST1].shape and at_site.abs().sum() > 0


def test_edits_know_which_rows_they_see(llama):
    rows, seen = make.prompts(6), {}

    def note(x):
        batch = current_batch()
        seen.update({row: batch.mask[i].sum().item() for i, row in enumerate(batch.rows)})
        return x

    with edit(llama, {POST0: note}):
        list(stream(llama, rows, [POST1], batch_tokens=24))
    assert seen == {i: len(row) for i, row in enumerate(rows)}


def test_an_edit_that_changes_shape_or_dtype_is_refused(llama):
    for bad in (lambda x: x[:, 1:], lambda x: x.double()):
        with pytest.raises(UserError, match="changed the tensor's form"), edit(llama, {POST0: bad}):
            forward(llama, pad(ROWS))
