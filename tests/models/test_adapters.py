"""Adapter on equals the merged model, adapter off equals the plain base bit for bit, and misfits are named."""

import json
import threading
import warnings

import pytest
import torch
from peft import IA3Config, LoraConfig, PeftModel, PromptTuningConfig
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from radiograph.core import ExitCode, FormatError, Site, UserError
from radiograph.models import capture, edit, forward, load, load_family, load_pair, pad

from . import make

pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
ROWS = pad([[5, 6, 7, 8, 9], [10, 11, 12, 13, 14]])
TARGETS = ["q_proj", "o_proj", "up_proj", "down_proj"]
KINDS = {
    "lora": LoraConfig(r=4, target_modules=TARGETS),
    "lora16": LoraConfig(r=16, lora_alpha=64, lora_dropout=0.5, target_modules=TARGETS),
    "rslora": LoraConfig(r=4, use_rslora=True, target_modules=TARGETS),
    "dora": LoraConfig(r=4, use_dora=True, target_modules=TARGETS),
    "ia3": IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]),
    "modules_to_save": LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["lm_head"]),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make.folder(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="module")
def adapters(base, tmp_path_factory):
    root = tmp_path_factory.mktemp("adapters")
    return {name: make.adapter(root / name, base, config=config) for name, config in KINDS.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_off_is_the_base_bit_for_bit_and_on_is_the_merged_model(kind, base, adapters, hooks):
    pair = load_pair(str(base), f"{base}+{adapters[kind]}")
    assert pair.shares_base and pair.candidate.notes == ()
    plain = forward(load(str(base)), ROWS)
    merged = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapters[kind]).merge_and_unload()
    with torch.no_grad():
        wanted = merged.eval()(ROWS.ids, use_cache=False).logits
    for _ in range(2):
        assert torch.equal(forward(pair.reference, ROWS), plain)
        torch.testing.assert_close(forward(pair.candidate, ROWS).clone(), wanted, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(wanted, plain, atol=1e-2)
    assert hooks(pair.candidate) == 0


def test_a_candidate_alone_equals_the_candidate_of_a_pair(base, adapters):
    alone = load(f"{base}+{adapters['lora']}")
    pair = load_pair(str(base), f"{base}+{adapters['lora']}")
    assert torch.equal(forward(alone, ROWS), forward(pair.candidate, ROWS))
    assert alone.identity == pair.candidate.identity


def test_sites_of_a_view_are_those_of_the_merged_model(base, adapters):
    candidate = load(f"{base}+{adapters['dora']}")
    merged = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapters["dora"]).merge_and_unload()
    from radiograph.models import wrap

    sites = [Site("attn_z", 1), Site("attn_out", 1), Site("mlp_hidden", 2), Site("mlp_out", 2), Site("final_norm")]
    ours, theirs = capture(candidate, ROWS, sites), capture(wrap(merged), ROWS, sites)
    for site in sites:
        torch.testing.assert_close(ours[site].clone(), theirs[site].clone(), rtol=1e-4, atol=1e-4)


def test_switching_leaves_modes_and_gradient_flags_alone(base, adapters):
    pair = load_pair(str(base), f"{base}+{adapters['modules_to_save']}")

    def flags():
        return {n: p.requires_grad for n, p in pair.candidate.model.named_parameters()}

    before = flags()
    for model in (pair.reference, pair.candidate, pair.reference):
        forward(model, ROWS)
        assert flags() == before and not any(m.training for m in model.model.modules())


def test_an_edit_on_one_view_leaves_the_other(base, adapters):
    pair = load_pair(str(base), f"{base}+{adapters['lora']}")
    plain = [forward(m, ROWS) for m in (pair.reference, pair.candidate)]
    for one, other, before in ((pair.reference, pair.candidate, plain[1]), (pair.candidate, pair.reference, plain[0])):
        with edit(one, {Site("mlp_out", 1): torch.zeros_like}):
            assert torch.equal(forward(other, ROWS), before)
            assert not torch.equal(forward(one, ROWS), plain[0]) and not torch.equal(forward(one, ROWS), plain[1])
        assert torch.equal(forward(one, ROWS), plain[0] if one is pair.reference else plain[1])


def test_two_threads_may_use_the_two_views(base, adapters):
    pair = load_pair(str(base), f"{base}+{adapters['lora']}")
    wanted = {id(m): forward(m, ROWS) for m in (pair.reference, pair.candidate)}
    wrong = []

    def work(model):
        wrong.extend(1 for _ in range(20) if not torch.equal(forward(model, ROWS), wanted[id(model)]))

    threads = [threading.Thread(target=work, args=(m,)) for m in (pair.reference, pair.candidate)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_base_weights_keep_their_names_and_addresses_under_an_adapter(base, adapters):
    for kind in KINDS:
        pair, plain = load_pair(str(base), f"{base}+{adapters[kind]}"), load(str(base))
        for model in (pair.reference, pair.candidate):
            assert model.weights == plain.weights
            ours, theirs = model.parameters(), plain.parameters()
            assert list(ours) == list(theirs)
            assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
        assert pair.reference.identity == plain.identity
        assert pair.shape_difference() is None


def test_an_adapter_with_trained_biases_gets_its_own_network(tmp_path):
    base = make.folder(tmp_path / "base", "qwen2")
    adapter = make.adapter(tmp_path / "a", base, config=LoraConfig(r=2, target_modules=["q_proj"], bias="all"))
    pair = load_pair(str(base), f"{base}+{adapter}")
    assert not pair.shares_base
    assert torch.equal(forward(pair.reference, ROWS), forward(load(str(base)), ROWS))
    assert not torch.equal(forward(pair.candidate, ROWS), forward(pair.reference, ROWS))


def test_pairs_without_an_adapter(base, tmp_path):
    other = make.folder(tmp_path / "other", seed=1)
    pair = load_pair(str(base), str(other))
    assert not pair.shares_base
    same = load_pair(str(base), str(base))
    assert same.reference is same.candidate


def test_another_recorded_base_is_noted(base, tmp_path):
    adapter = make.adapter(tmp_path / "a", base)
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "base_model_name_or_path": "org/another-model"}))
    (note,) = load(f"{base}+{adapter}").notes
    assert note.startswith("adapter_base_unverified") and "org/another-model" in note


def test_an_adapter_for_other_shapes_is_refused_by_tensor_and_shapes(base, tmp_path):
    wide = make.folder(tmp_path / "wide", hidden_size=64)
    adapter = make.adapter(tmp_path / "a", wide)
    with pytest.raises(UserError) as error:
        load(f"{base}+{adapter}")
    assert error.value.exit_code == ExitCode.BAD_INPUT
    assert "lora_" in error.value.message and "layers.0" in error.value.message
    assert (error.value.expected, error.value.got) in {("[4, 32]", "[4, 64]"), ("[32, 4]", "[64, 4]")}


def test_an_adapter_for_other_modules_or_depth_is_refused(base, tmp_path):
    gpt2 = make.folder(tmp_path / "gpt2", "gpt2")
    foreign = make.adapter(tmp_path / "a", gpt2, config=LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True))
    with pytest.raises(UserError, match="does not fit"):
        load(f"{base}+{foreign}")
    shallow = make.folder(tmp_path / "shallow", num_hidden_layers=2)
    with pytest.raises(UserError, match="lacks tensors"):
        load(f"{base}+{make.adapter(tmp_path / 'b', shallow)}")


def test_bad_adapter_folders(base, tmp_path):
    with pytest.raises(UserError, match="is an adapter, not a model"):
        load(str(make.adapter(tmp_path / "a", base)))
    with pytest.raises(UserError, match="is not an adapter"):
        load(f"{base}+{base}")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "adapter_config.json").write_text("{")
    with pytest.raises(FormatError, match="not JSON"):
        load(f"{base}+{tmp_path / 'b'}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prompt = make.adapter(
            tmp_path / "c", base, config=PromptTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM")
        )
    with pytest.raises(UserError, match="prompt adapter"):
        load(f"{base}+{prompt}")


def test_an_adapter_that_is_not_finite_is_refused(base, tmp_path):
    adapter = make.adapter(tmp_path / "a", base)
    tensors = load_file(adapter / "adapter_model.safetensors")
    name = next(iter(tensors))
    tensors[name][1, 2] = float("nan")
    save_file(tensors, adapter / "adapter_model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"is not finite\n.*index \[1, 2\]"):
        load(f"{base}+{adapter}")


def test_identity_of_an_adapter_covers_tensors_and_scaling(base, tmp_path):
    adapter = make.adapter(tmp_path / "a", base)
    first = load(f"{base}+{adapter}").identity
    assert first.base_tensors_sha256 == load(str(base)).identity.tensors_sha256
    path = adapter / "adapter_config.json"
    stored = json.loads(path.read_text())
    path.write_text(json.dumps({**stored, "base_model_name_or_path": "elsewhere"}))
    assert load(f"{base}+{adapter}").identity.tensors_sha256 == first.tensors_sha256
    path.write_text(json.dumps({**stored, "lora_alpha": 99}))
    assert load(f"{base}+{adapter}").identity.tensors_sha256 != first.tensors_sha256


def test_several_adapters_share_one_network_and_equal_models_loaded_alone(base, adapters):
    refs = [f"{base}+{adapters[name]}" for name in KINDS]
    reference, *candidates = load_family(str(base), [*refs, str(base)])
    views = dict(zip([str(base), *refs, str(base)], [reference, *candidates], strict=True))
    assert {id(view.model) for view in views.values()} == {id(reference.model)}
    for ref, view in [*views.items(), *views.items()]:
        alone = load(ref)
        assert torch.allclose(forward(view, ROWS), forward(alone, ROWS), atol=1e-6), ref
        assert view.identity == alone.identity
