"""Changes of weights from files, adapters and memory: every route gives the change that dense subtraction gives."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from peft import IA3Config, LoraConfig
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from radiograph.core import FormatError, UserError
from radiograph.models import DenseDelta, LowRank, Pair, StoredPair, changes, load, load_pair, stored, wrap

from . import make

QV = ["q_proj", "down_proj"]
PLAIN = {
    "r4": LoraConfig(r=4, target_modules=QV, task_type="CAUSAL_LM"),
    "r16": LoraConfig(r=16, lora_alpha=32, target_modules=QV, task_type="CAUSAL_LM"),
    "rslora": LoraConfig(r=4, lora_alpha=8, use_rslora=True, target_modules=QV, task_type="CAUSAL_LM"),
    "patterns": LoraConfig(
        r=4,
        target_modules=QV,
        rank_pattern={"layers.1.self_attn.q_proj": 2},
        alpha_pattern={"model.layers.1.self_attn.q_proj": 3, "down_proj": 5},
        task_type="CAUSAL_LM",
    ),
    "saved": LoraConfig(r=4, target_modules=QV, modules_to_save=["lm_head", "norm"], task_type="CAUSAL_LM"),
    "embedding": LoraConfig(r=4, target_modules=["embed_tokens", "q_proj"], task_type="CAUSAL_LM"),
}
OTHER = {
    "dora": LoraConfig(r=4, use_dora=True, target_modules=QV, task_type="CAUSAL_LM"),
    "ia3": IA3Config(target_modules=QV, feedforward_modules=["down_proj"], task_type="CAUSAL_LM"),
    "tokens": LoraConfig(r=4, target_modules=QV, trainable_token_indices=[5, 9], task_type="CAUSAL_LM"),
    "pissa": LoraConfig(r=4, init_lora_weights="pissa", target_modules=QV, task_type="CAUSAL_LM"),
}
pytestmark = [
    # PEFT still asks transformers by an old name, and says that it saves an embedding with its adapter.
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Setting .save_embedding_layers. to .True.:UserWarning"),
]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make.folder(tmp_path_factory.mktemp("base") / "base")


def pair(first, second):
    return StoredPair(stored(str(first)), stored(str(second)))


def dense(found):
    """Every change as stored, formed."""
    formed = {}
    for change in found:
        if change.delta is None:
            formed[change.parameter] = None
        elif isinstance(change.delta, LowRank):
            product = change.delta[:, :]
            formed[change.parameter] = product.T if change.delta.transposed else product
        else:
            formed[change.parameter] = change.delta[...]
    return formed


def parameters(model):
    return {n: p.detach().float().numpy() for n, p in model.named_parameters()}


def merged(path, base, adapter):
    """The candidate as PEFT merges it: a second route."""
    from peft import PeftModel

    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter).merge_and_unload()
    model.save_pretrained(path)
    return path


def assert_same(found, first, second, tolerance=0.0):
    for name, change in found.items():
        expected = second[name] - first[name]
        if change is None:
            assert np.array_equal(first[name], second[name]), name
        else:
            np.testing.assert_allclose(change, expected, atol=tolerance, rtol=0, err_msg=name)
            assert expected.any(), name


def test_two_folders_give_the_difference_of_every_tensor(base, tmp_path):
    other = make.folder(tmp_path / "other", seed=1)
    found = dense(changes(pair(base, other)))
    first, second = parameters(load(str(base)).model), parameters(load(str(other)).model)
    assert found.keys() == first.keys()
    assert_same(found, first, second)


def test_a_model_and_itself_are_equal_tensor_by_tensor(base):
    assert {c.status for c in changes(pair(base, base))} == {"equal"}
    loaded = load_pair(str(base), str(base))
    assert {c.status for c in changes(loaded)} == {"equal"}


@pytest.mark.parametrize("kind", PLAIN)
def test_plain_adapters_stay_low_rank_and_equal_the_merged_copy(kind, base, tmp_path):
    adapter = make.adapter(tmp_path / "adapter", base, config=PLAIN[kind])
    first = parameters(AutoModelForCausalLM.from_pretrained(base))
    second = parameters(AutoModelForCausalLM.from_pretrained(merged(tmp_path / "merged", base, adapter)))
    found = list(changes(pair(base, f"{base}+{adapter}")))
    assert_same(dense(found), first, second, 1e-6)
    matrices = [c for c in found if c.status == "changed" and "proj" in c.parameter]
    assert matrices and all(isinstance(c.delta, LowRank) for c in matrices)
    replaced = {c.parameter for c in found if isinstance(c.delta, DenseDelta)}
    assert replaced == ({n for n in first if "norm" in n or "lm_head" in n} if kind == "saved" else set())


@pytest.mark.parametrize("kind", OTHER)
def test_other_adapters_equal_the_merged_copy_and_leave_the_network_alone(kind, base, tmp_path):
    adapter = make.adapter(tmp_path / "adapter", base, config=OTHER[kind])
    first = parameters(AutoModelForCausalLM.from_pretrained(base))
    second = parameters(AutoModelForCausalLM.from_pretrained(merged(tmp_path / "merged", base, adapter)))
    assert_same(dense(changes(pair(base, f"{base}+{adapter}"))), first, second, 1e-6)
    loaded = load_pair(str(base), f"{base}+{adapter}")
    ids = torch.arange(8)[None]
    with loaded.reference.session() as network, torch.inference_mode():
        before = network(input_ids=ids).logits
    assert_same(dense(changes(loaded)), first, second, 1e-6)
    with loaded.reference.session() as network, torch.inference_mode():
        assert torch.equal(network(input_ids=ids).logits, before)


def test_an_adapter_on_another_path_of_the_same_base_is_compared_densely(base, tmp_path):
    copy = make.folder(tmp_path / "copy")
    adapter = make.adapter(tmp_path / "adapter", base)
    exact = dense(changes(pair(base, f"{base}+{adapter}")))
    found = list(changes(pair(base, f"{copy}+{adapter}")))
    assert all(not isinstance(c.delta, LowRank) for c in found)
    for name, change in dense(found).items():
        assert (change is None) == (exact[name] is None)
        if change is not None:
            np.testing.assert_allclose(change, exact[name], atol=1e-6)


def test_conv1d_and_fused_matrices_are_read_as_addresses(tmp_path):
    base = make.folder(tmp_path / "gpt2", "gpt2")
    config = LoraConfig(r=4, target_modules=["c_attn", "c_fc"], fan_in_fan_out=True, task_type="CAUSAL_LM")
    adapter = make.adapter(tmp_path / "adapter", base, config=config)
    thin = {c.parameter: c for c in changes(pair(base, f"{base}+{adapter}"))}
    full = {c.parameter: c for c in changes(pair(base, merged(tmp_path / "merged", base, adapter)))}
    fused = thin["transformer.h.1.attn.c_attn.weight"]
    assert [a.address for a in fused.addresses] == ["q.1", "k.1", "v.1"]
    for name, change in thin.items():
        assert change.status == full[name].status
        for address in change.addresses if change.delta is not None else ():
            ours, theirs = change.delta.at(address)[:, :], full[name].delta.at(address)[:, :]
            np.testing.assert_allclose(ours, theirs, atol=1e-6)
            assert ours.shape == address.shape == change.reference.at(address).shape


def test_interleaved_factors_take_the_rows_of_their_heads(tmp_path):
    base = make.folder(tmp_path / "neox", "gpt_neox")
    config = LoraConfig(r=4, target_modules=["query_key_value"], task_type="CAUSAL_LM")
    adapter = make.adapter(tmp_path / "adapter", base, config=config)
    fused = next(c for c in changes(pair(base, f"{base}+{adapter}")) if c.status == "changed")
    for address in fused.addresses:
        np.testing.assert_allclose(fused.delta.at(address)[:, :], address.read(fused.delta[:, :]), atol=1e-7)


def test_sharding_prefix_and_tied_head_make_no_difference(base, tmp_path):
    network = AutoModelForCausalLM.from_pretrained(base)
    network.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    make.tokenizer(merges=38).save_pretrained(tmp_path / "shards")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 2
    assert {c.status for c in changes(pair(base, tmp_path / "shards"))} == {"equal"}

    tied = make.folder(tmp_path / "tied", "qwen2")
    weights = load_file(tied / "model.safetensors")
    assert "lm_head.weight" not in weights
    bare = {n.removeprefix("model."): t for n, t in weights.items()}
    copy = make.folder(tmp_path / "copy", "qwen2")
    save_file({**bare, "lm_head.weight": bare["embed_tokens.weight"].clone()}, copy / "model.safetensors")
    found = list(changes(pair(tied, copy)))
    assert {c.status for c in found} == {"equal"} and len(found) == len(weights)


def test_a_head_untied_by_training_is_compared_with_the_embedding(tmp_path):
    tied = make.folder(tmp_path / "tied", "qwen2")
    weights = load_file(tied / "model.safetensors")
    other = make.folder(tmp_path / "other", "qwen2")
    head = weights["model.embed_tokens.weight"].clone()
    head[7] += 1
    save_file({**weights, "lm_head.weight": head}, other / "model.safetensors")
    found = [c for c in changes(pair(tied, other)) if c.status != "equal"]
    assert [[a.address for a in c.addresses] for c in found] == [["unembed"]]
    assert np.flatnonzero(np.abs(found[0].delta[:, :]).sum(axis=1)).tolist() == [7]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_stored_dtypes_are_decoded_exactly(dtype, tmp_path):
    first, second = (make.folder(tmp_path / str(seed), seed=seed) for seed in (0, 1))
    expected = {}
    for folder in (first, second):
        weights = {n: t.to(dtype) for n, t in load_file(folder / "model.safetensors").items()}
        save_file(weights, folder / "model.safetensors")
        for name, tensor in weights.items():
            expected[name] = tensor.double().numpy() - expected.get(name, 0)
    for name, change in dense(changes(pair(first, second))).items():
        np.testing.assert_allclose(change, expected[name], rtol=1e-6, atol=1e-7)


def test_equal_numbers_in_another_dtype_are_equal(base, tmp_path):
    copy = make.folder(tmp_path / "copy")
    save_file({n: t.double() for n, t in load_file(copy / "model.safetensors").items()}, copy / "model.safetensors")
    assert {c.status for c in changes(pair(base, copy))} == {"equal"}


def test_pickles_that_hold_tensors_are_read_and_others_refused(base, tmp_path):
    copy = make.folder(tmp_path / "copy")
    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    assert {c.status for c in changes(pair(base, copy))} == {"equal"}
    torch.save({"code": subprocess.Popen}, copy / "pytorch_model.bin")
    with pytest.raises(FormatError):
        list(changes(pair(base, copy)))


def test_added_missing_and_resized_tensors_are_listed(base, tmp_path):
    other = make.folder(tmp_path / "other")
    weights = load_file(other / "model.safetensors")
    del weights["model.layers.0.self_attn.k_proj.weight"]
    weights["model.layers.0.mlp.gate_proj.bias"] = torch.ones(48)
    weights["model.layers.1.mlp.up_proj.weight"] = torch.ones(50, 32)
    save_file(weights, other / "model.safetensors")
    found = {c.status: c.parameter for c in changes(pair(base, other)) if c.status != "equal"}
    assert found == {
        "missing": "model.layers.0.self_attn.k_proj.weight",
        "added": "model.layers.0.mlp.gate_proj.bias",
        "resized": "model.layers.1.mlp.up_proj.weight",
    }


def test_embedding_rows_beyond_the_tokenizer_are_left_out(base, tmp_path):
    other = make.folder(tmp_path / "other", vocab_size=320)
    weights = load_file(base / "model.safetensors")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        weights[name] = torch.cat([weights[name], torch.ones(20, 32)])
    save_file(weights, other / "model.safetensors")
    found = list(changes(pair(other, base)))
    assert {c.status for c in found} == {"equal"}
    assert {c.spare_rows for c in found if c.addresses and "embed" in c.addresses[0].address} == {20}


def test_memory_equals_files(base, tmp_path):
    other = make.folder(tmp_path / "other", seed=1)
    loaded = Pair(wrap(load(str(base)).model), wrap(load(str(other)).model))
    from_memory, from_files = dense(changes(loaded)), dense(changes(pair(base, other)))
    assert from_memory.keys() == from_files.keys()
    for name, change in from_memory.items():
        assert np.array_equal(change, from_files[name])


def test_bad_adapters_and_quantised_changes_are_refused(base, tmp_path):
    wide = make.folder(tmp_path / "wide", hidden_size=64)
    adapter = make.adapter(tmp_path / "adapter", wide)
    with pytest.raises(UserError) as caught:
        list(changes(pair(base, f"{base}+{adapter}")))
    assert caught.value.code == "adapter_mismatch" and "[32, 48]" in str(caught.value)
    with pytest.raises(UserError, match="is an adapter, not a model"):
        stored(str(adapter))
    packed = make.folder(tmp_path / "packed")
    weights = load_file(packed / "model.safetensors")
    weights["model.norm.weight"] = weights["model.norm.weight"].to(torch.int8)
    save_file(weights, packed / "model.safetensors")
    with pytest.raises(UserError) as caught:
        list(changes(pair(base, packed)))
    assert caught.value.code == "quantised"


def test_an_untrained_adapter_changes_nothing(base, tmp_path):
    from peft import get_peft_model

    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), PLAIN["r4"])
    model.save_pretrained(tmp_path / "fresh")
    assert {c.status for c in changes(pair(base, f"{base}+{tmp_path / 'fresh'}"))} == {"equal"}


def test_files_are_hashed_as_a_loaded_model_is(base, tmp_path):
    adapter = make.adapter(tmp_path / "adapter", base)
    for ref in (str(base), f"{base}+{adapter}"):
        ours, theirs = stored(ref).identity, load(ref).identity
        assert (ours.files_sha256, ours.tensors_sha256) == (theirs.files_sha256, theirs.tensors_sha256)
        assert stored(ref).notes == load(ref).notes


def test_comparing_safetensors_never_imports_torch(base, tmp_path):
    adapter = make.adapter(tmp_path / "adapter", base)
    code = (
        "import sys; from radiograph.models import StoredPair, changes, stored\n"
        "a, b = sys.argv[1:]\n"
        "list(changes(StoredPair(stored(a), stored(b)))); stored(b).identity; stored(b).vocabulary\n"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code, str(base), f"{base}+{adapter}"], check=False)
    assert run.returncode == 0


def test_a_damaged_file_is_a_format_error(base, tmp_path):
    broken = make.folder(tmp_path / "broken")
    path = broken / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FormatError):
        list(changes(pair(base, broken)))
    (broken / "config.json").write_text(json.dumps({"model_type": "llama"})[:-3])
    with pytest.raises(FormatError):
        _ = stored(str(broken)).config
