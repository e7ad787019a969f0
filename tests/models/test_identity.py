"""Hashes survive moving, re-saving and re-sharding, and nothing else."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from radiograph.core import FormatError
from radiograph.models import files_sha256, load, tensors_sha256, wrap

from . import make


@pytest.mark.parametrize("name", make.FAMILIES)
def test_resaved_resharded_and_in_memory_copies_are_the_same_model(name, tmp_path):
    made = make.network(name)
    made.save_pretrained(tmp_path / "a")
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "a")
    again.save_pretrained(tmp_path / "b", max_shard_size="20KB")
    assert len(list((tmp_path / "b").glob("*.safetensors"))) > 1
    shutil.copytree(tmp_path / "a", tmp_path / "moved")
    wanted = tensors_sha256(tmp_path / "a")
    assert tensors_sha256(tmp_path / "b") == tensors_sha256(tmp_path / "moved") == wanted
    assert wrap(made).identity.tensors_sha256 == wanted
    assert files_sha256(tmp_path / "a") == files_sha256(tmp_path / "moved") != files_sha256(tmp_path / "b")
    with torch.no_grad():
        next(made.parameters())[0, 0] += 1e-3
    assert wrap(made).identity.tensors_sha256 != wanted


def test_old_names_mask_buffers_and_ties_do_not_matter(tmp_path):
    made = make.network("gpt2")
    made.save_pretrained(tmp_path)
    wanted = tensors_sha256(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    old = {name.removeprefix("transformer."): value for name, value in tensors.items()}
    old["h.0.attn.bias"] = torch.ones(1, 1, 4, 4)
    old["lm_head.weight"] = old["wte.weight"].clone()
    save_file(old, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert tensors_sha256(tmp_path) == wanted
    assert torch.equal(load(str(tmp_path)).model.transformer.wte.weight, made.transformer.wte.weight)


def test_dtype_names_and_values_matter(tmp_path):
    made = make.network("llama")
    seen = {wrap(made).identity.tensors_sha256}
    seen.add(tensors_sha256({n: p.bfloat16() for n, p in made.named_parameters()}))
    seen.add(tensors_sha256({n + "x": p for n, p in made.named_parameters()}))
    seen.add(tensors_sha256({n: p.reshape(-1) for n, p in made.named_parameters()}))
    seen.add(wrap(make.network("llama", seed=1)).identity.tensors_sha256)
    assert len(seen) == 5


def test_bfloat16_files_hash_without_numpy_types(tmp_path):
    make.network("llama").bfloat16().save_pretrained(tmp_path)
    assert tensors_sha256(tmp_path) == wrap(make.network("llama").bfloat16()).identity.tensors_sha256


def test_the_tokenizer_hash_survives_resaving_and_sees_the_template(tmp_path):
    folder = make.folder(tmp_path / "a")
    first = load(str(folder)).identity
    AutoTokenizer.from_pretrained(folder).save_pretrained(folder)
    assert load(str(folder)).identity.tokenizer_sha256 == first.tokenizer_sha256
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template += " "
    tokenizer.save_pretrained(folder)
    second = load(str(folder)).identity
    assert second.tokenizer_sha256 != first.tokenizer_sha256
    assert second.tensors_sha256 == first.tensors_sha256
    assert second.files_sha256 != first.files_sha256


def test_files_that_lie_are_format_errors(tmp_path):
    for data in (b"", b"\xff" * 64, (8).to_bytes(8, "little") + b'{"a": 1}', (2).to_bytes(8, "little") + b"[]"):
        (tmp_path / "model.safetensors").write_bytes(data)
        with pytest.raises(FormatError, match="not a safetensors file"):
            tensors_sha256(tmp_path)
    header = json.dumps({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"12")
    with pytest.raises(FormatError, match="ends before"):
        tensors_sha256(tmp_path)
