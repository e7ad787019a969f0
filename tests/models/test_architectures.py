"""Sites equal what the modules compute, for every family, by a second route."""

import json

import pytest
import torch

from radiograph.core import Refusal, Site, UserError
from radiograph.models import capture, edit, forward, pad, wrap
from radiograph.models.architectures import weight_addresses

from . import make


def close(a, b, tolerance=1e-5):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.fixture(autouse=True)
def no_gradients():
    with torch.no_grad():
        yield


def capture_all(model, batch):
    kinds = ["resid_pre", "attn_z", "attn_out", "mlp_in", "mlp_hidden", "mlp_out", "resid_post"]
    sites = [Site(k, layer) for layer in range(model.n_layers) for k in kinds]
    if model.architecture.family.mid:
        sites += [Site("resid_mid", layer) for layer in range(model.n_layers)]
    return capture(model, batch, [*sites, Site("embed"), Site("final_norm")])


@pytest.fixture(scope="session")
def batch():
    return pad([[5, 6, 7, 8, 9, 10, 11], [20, 21, 22, 23, 24, 25, 26]])


@pytest.fixture(scope="session")
def captured(model, batch):
    return capture_all(model, batch)


def test_residual_sites_equal_hidden_states(model, batch, captured):
    states = model.model(input_ids=batch.ids, output_hidden_states=True, use_cache=False).hidden_states
    assert torch.equal(captured[Site("embed")], states[0])
    for layer in range(model.n_layers):
        assert torch.equal(captured[Site("resid_pre", layer)], states[layer])
        if layer + 1 < model.n_layers:
            assert torch.equal(captured[Site("resid_post", layer)], states[layer + 1])
    # The last hidden state is after the final norm, and is not the last block's output.
    assert torch.equal(captured[Site("final_norm")], states[-1])
    assert not torch.allclose(captured[Site("resid_post", model.n_layers - 1)], states[-1])


def test_what_is_added_adds_up_to_the_residual_stream(model, captured):
    for layer in range(model.n_layers):
        pre, post = captured[Site("resid_pre", layer)], captured[Site("resid_post", layer)]
        attention, mlp = captured[Site("attn_out", layer)], captured[Site("mlp_out", layer)]
        close(pre + attention + mlp, post)
        if Site("resid_mid", layer) in captured:
            close(pre + attention, captured[Site("resid_mid", layer)])


def test_projections_of_z_and_hidden_give_what_is_written(model, family, captured):
    tensors = dict(model.parameters())
    for layer in range(model.n_layers):
        for weight, source, target in (("o", "attn_z", "attn_out"), ("down", "mlp_hidden", "mlp_out")):
            address = model.weights[f"{weight}.{layer}"]
            bias = tensors.get(address.parameter.removesuffix("weight") + "bias")
            written = captured[Site(source, layer)] @ address.read(tensors[address.parameter]).T
            written = written if bias is None else written + bias
            if family.startswith("gemma"):
                name = "post_attention_layernorm" if weight == "o" else "post_feedforward_layernorm"
                written = model.model.model.layers[layer].get_submodule(name)(written)
            close(written, captured[Site(target, layer)])


def test_mlp_in_gives_hidden_through_the_first_matrices(model, captured):
    tensors = dict(model.parameters())
    mlp = model.model.get_submodule(model.architecture.point(Site("mlp_in", 1)).module)
    activation = next(m for name, m in mlp.named_modules() if name in ("act", "act_fn", "activation_fn"))

    def through(kind):
        address = model.weights[f"{kind}.1"]
        bias = tensors.get(address.parameter.removesuffix("weight") + "bias")
        value = captured[Site("mlp_in", 1)] @ address.read(tensors[address.parameter]).T
        return value if bias is None else value + bias

    hidden = activation(through("gate")) * through("up") if "gate.1" in model.weights else activation(through("up"))
    close(hidden, captured[Site("mlp_hidden", 1)])


def test_heads_are_slices_of_z(model, batch, captured):
    sites = [Site("attn_z", 1, head) for head in range(model.n_heads)]
    heads = capture(model, batch, sites)
    assert torch.equal(torch.cat([heads[s] for s in sites], -1), captured[Site("attn_z", 1)])
    assert heads[sites[0]].shape[-1] == model.head_dim == model.site_width(sites[0])


def test_site_widths_match_what_is_captured(model, captured):
    assert {site: value.shape[-1] for site, value in captured.items()} == {s: model.site_width(s) for s in captured}


def test_parallel_blocks_have_no_resid_mid(model, family, batch):
    if family in make.PARALLEL:
        with pytest.raises(Refusal, match="site_absent"):
            capture(model, batch, [Site("resid_mid", 0)])
    else:
        assert Site("resid_mid", 0) in capture(model, batch, [Site("resid_mid", 0)])


def test_fused_q_k_v_are_the_matrices_that_attention_uses(model, batch, captured):
    """v.1 through uniform attention: with q zeroed, z at position 0 is exactly v at position 0."""
    tensors = dict(model.parameters())
    address = model.weights["v.1"]
    block = f"{model.architecture.family.backbone}.{model.architecture.family.blocks}.1"
    norm = "ln_1" if "gpt2" in model.architecture.name else "input_layernorm"
    entering = model.model.get_submodule(f"{block}.{norm}")(captured[Site("resid_pre", 1)])
    value = entering[:, 0] @ address.read(tensors[address.parameter]).T
    bias = tensors.get(address.parameter.removesuffix("weight") + "bias")
    if bias is not None:
        stacked = bias.reshape(address.groups, -1)[:, address.start : address.stop].reshape(-1)
        value = value + stacked
    groups = model.n_heads * model.head_dim // value.shape[-1]
    value = value.reshape(len(value), -1, model.head_dim).repeat_interleave(groups, 1).flatten(1)
    close(value, captured[Site("attn_z", 1)][:, 0])


def test_weight_addresses_cover_every_matrix_once(model):
    tensors = model.parameters()
    addresses = model.weights
    for kind in ("q", "k", "v", "o", "up", "down"):
        assert [f"{kind}.{layer}" in addresses for layer in range(model.n_layers)] == [True] * model.n_layers
    per_parameter: dict[str, int] = {}
    for address, place in addresses.items():
        if address != "unembed" or place.parameter != addresses["embed"].parameter:
            per_parameter[place.parameter] = per_parameter.get(place.parameter, 0) + place.shape[0] * place.shape[1]
    assert per_parameter == {name: tensors[name].numel() for name in per_parameter}
    matrices = {name for name, p in tensors.items() if p.dim() == 2 and "wpe" not in name}
    assert set(per_parameter) == matrices


def test_weight_addresses_need_only_names_shapes_and_the_stored_config(model, tmp_path):
    model.model.config.save_pretrained(tmp_path)
    stored = json.loads((tmp_path / "config.json").read_text())
    shapes = {name: tuple(p.shape) for name, p in model.parameters().items()}
    assert weight_addresses(stored, shapes) == model.weights


def test_writing_a_weight_and_reading_it_back(model):
    for address in ("q.1", "v.2", "up.0", "o.1", "embed"):
        place = model.weights[address]
        stored = model.parameters()[place.parameter].detach().clone()
        before = stored.clone()
        new = torch.randn(place.shape)
        place.write(stored, new)
        assert torch.equal(place.read(stored), new)
        assert int((stored != before).sum()) == new.numel()
        array = before.numpy()
        place.write(array, new.numpy())
        assert torch.equal(torch.from_numpy(array), stored)


def test_a_language_model_under_a_vision_model_is_found():
    from transformers import AutoConfig, AutoModelForCausalLM

    text = {k: v for k, v in make.CONFIGS["gemma3"].items() if k != "model_type"}
    vision = {
        "hidden_size": 8,
        "intermediate_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 1,
        "image_size": 28,
    }
    config = AutoConfig.for_model("gemma3", text_config=text, vision_config={**vision, "patch_size": 14})
    model = wrap(AutoModelForCausalLM.from_config(config))
    batch = pad([[5, 6, 7], [8, 9, 10]])
    found = capture_all(model, batch)
    assert {site: value.shape[-1] for site, value in found.items()} == {s: model.site_width(s) for s in found}
    states = model.model(input_ids=batch.ids, output_hidden_states=True, use_cache=False).hidden_states
    assert torch.equal(found[Site("final_norm")], states[-1])
    assert torch.equal(found[Site("resid_post", 0)], states[1])
    assert {"embed", "unembed", "q.2", "gate.0"} <= set(model.weights)
    shapes = {name: tuple(p.shape) for name, p in model.parameters().items()}
    assert weight_addresses(config.to_dict(), shapes) == model.weights


def test_unknown_architecture_still_runs_and_names_its_modules():
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        "opt", vocab_size=50, hidden_size=16, ffn_dim=32, num_hidden_layers=1, num_attention_heads=2,
        word_embed_proj_dim=16, max_position_embeddings=32,
    )  # fmt: skip
    model = wrap(AutoModelForCausalLM.from_config(config))
    assert forward(model, pad([[5, 6, 7]])).shape == (1, 3, 50)
    with pytest.raises(UserError, match=r"no site map.*\n  model: OPTModel\n  model.decoder: "):
        _ = model.architecture
    assert model.weights == {}


def test_layers_and_heads_outside_the_model_are_refused(llama, batch):
    for site in (Site("resid_post", 3), Site("attn_z", 0, 4)):
        with pytest.raises(UserError, match="outside the model"):
            capture(llama, batch, [site])
        with pytest.raises(UserError, match="outside the model"), edit(llama, {site: lambda x: x}):
            pass
