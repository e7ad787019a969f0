"""Good folders load without a sound; every bad one is refused by name, and no code runs."""

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from radiograph.core import ExitCode, FormatError, UserError
from radiograph.models import forward, load, pad

from . import make


@pytest.fixture
def folder(tmp_path):
    return make.folder(tmp_path / "model")


def change(folder: Path, edit):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    edit(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def change_config(folder: Path, **values):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_a_loaded_model_says_what_it_is(folder, capfd):
    model = load(str(folder))
    assert (model.n_layers, model.width, model.n_heads, model.head_dim, model.mlp_width) == (3, 32, 4, 8, 48)
    assert (model.vocab_size, model.context_length) == (300, 64)
    assert model.spare_rows == 0 and len(model.tokenizer) == 300
    assert not model.model.training and model.dtype == torch.float32
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", make.FAMILIES)
def test_every_family_survives_a_round_trip_through_a_folder(name, tmp_path):
    made = make.network(name)
    made.save_pretrained(tmp_path)
    model, batch = load(str(tmp_path)), pad([[3, 4, 5, 6]])
    with torch.no_grad():
        assert torch.equal(forward(model, batch), made(batch.ids, use_cache=False).logits)
    assert model.tokenizer is None and model.notes == ()


def test_a_local_load_never_opens_a_connection(folder, monkeypatch):
    from huggingface_hub import constants

    base = make.folder(folder.parent / "base")
    adapter = make.adapter(folder.parent / "adapter", base)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("went online"))
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: pytest.fail("went online"))
    load(str(folder))
    load(f"{base}+{adapter}")


def test_relative_folders_are_looked_for_in_base_dir(folder):
    assert load("model", base_dir=folder.parent).folder == folder


def test_dtype_is_float32_unless_asked(folder):
    change(folder, lambda tensors: tensors.update({k: v.bfloat16() for k, v in tensors.items()}))
    assert load(str(folder)).dtype == torch.float32
    assert load(str(folder), dtype=torch.bfloat16).dtype == torch.bfloat16


class Payload:
    def __reduce__(self):
        return (Path.touch, (Path("/tmp/radiograph-code-ran"),))


def test_pickles_of_tensors_load_and_pickles_of_code_do_not_run(folder):
    plain = load(str(folder))
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    pickled = load(str(folder))
    assert torch.equal(forward(pickled, pad([[3, 4]])), forward(plain, pad([[3, 4]])))
    assert pickled.identity.tensors_sha256 == plain.identity.tensors_sha256

    torch.save({**tensors, "x": Payload()}, folder / "pytorch_model.bin")
    with pytest.raises(FormatError, match="would run code") as error:
        load(str(folder))
    assert error.value.exit_code == ExitCode.BAD_INPUT
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(FormatError):
        load(str(folder))
    assert not Path("/tmp/radiograph-code-ran").exists()


def test_remote_code_is_refused_and_the_flag_named(folder):
    (folder / "modeling_odd.py").write_text("raise SystemExit('code ran')")
    change_config(folder, model_type="odd", auto_map={"AutoModelForCausalLM": "modeling_odd.Odd"})
    with pytest.raises(UserError, match="--trust-remote-code"):
        load(str(folder))


def test_unknown_model_type_is_refused_with_neighbours(folder):
    change_config(folder, model_type="lama")
    with pytest.raises(UserError, match="llama"):
        load(str(folder))


def test_a_model_without_a_causal_head_is_refused(tmp_path):
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.for_model("t5", vocab_size=32, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)
    AutoModel.from_config(config).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="not a causal language model"):
        load(str(tmp_path))


def test_missing_tensors_are_refused_and_not_made_up(folder):
    change(folder, lambda tensors: tensors.pop("model.layers.1.mlp.up_proj.weight"))
    with pytest.raises(UserError, match="missing from the weights") as error:
        load(str(folder))
    assert error.value.expected == "model.layers.1.mlp.up_proj.weight"


def test_tensors_of_other_shapes_are_refused_by_name(folder):
    change(folder, lambda tensors: tensors.update({"model.norm.weight": torch.ones(31)}))
    with pytest.raises(UserError, match=r"model\.norm\.weight") as error:
        load(str(folder))
    assert (error.value.expected, error.value.got) == ("[32]", "[31]")


def test_unused_tensors_are_noted(folder):
    change(folder, lambda tensors: tensors.update({"model.extra.weight": torch.ones(2)}))
    assert load(str(folder)).notes == ("weights_unused: 1 tensors, first model.extra.weight",)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_with_their_index(folder, value):
    def spoil(tensors):
        tensors["model.layers.2.self_attn.k_proj.weight"][3, 5] = value

    change(folder, spoil)
    with pytest.raises(UserError, match=r"layers.2.self_attn.k_proj.weight is not finite\n.*index \[3, 5\]"):
        load(str(folder))


def test_folders_that_hold_no_model_say_what_is_missing(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"config\.json"):
        load(str(tmp_path / "empty"))
    (folder / "model.safetensors").unlink()
    with pytest.raises(FormatError, match="no weights"):
        load(str(folder))
    (folder / "model.safetensors").write_bytes(b"not a tensor file")
    with pytest.raises(FormatError, match="cannot be read"):
        load(str(folder))
    (folder / "config.json").write_text("{")
    with pytest.raises(FormatError, match="not JSON"):
        load(str(folder))


def test_a_broken_tokenizer_is_a_format_error(folder):
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(FormatError, match="tokenizer"):
        load(str(folder))
