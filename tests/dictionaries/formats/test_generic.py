"""A map describes any file: the dictionary that was taken apart comes back, and what the map forgets is an error."""

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from dictionaries.make import random_dictionary
from radiograph.core import FormatError, Refusal, UserError
from radiograph.dictionaries.formats import Options, Source, import_source


def write(tmp_path, tensors, described, kind="safetensors"):
    folder = tmp_path / "source"
    folder.mkdir(exist_ok=True)
    path = folder / f"w.{kind}"
    if kind == "safetensors":
        save_file({k: v.contiguous() for k, v in tensors.items()}, path)
    elif kind == "npz":
        np.savez(path, **{k: v.numpy() for k, v in tensors.items()})
    else:
        torch.save({"step": 3, "model": tensors}, path)
    (tmp_path / "map.yaml").write_text(yaml.safe_dump(described))
    return Source.open(folder), Options(map=tmp_path / "map.yaml")


def one(source, options):
    (finished,) = import_source(source, options)
    return finished.dictionary


def parts(d):
    """Tensors under foreign names, the encoder turned and the threshold as a logarithm."""
    tensors = {"A": d.encoder.T, "B": d.decoder, "e": d.encoder_bias, "c": d.input_bias, "g": d.decoder_bias}
    named = {
        "encoder": {"name": "A", "transpose": True},
        "decoder": "B",
        "encoder_bias": "e",
        "input_bias": "c",
        "decoder_bias": "g",
    }
    if d.parameters:
        tensors["t"] = d.parameters["threshold"].log()
        named["threshold"] = {"name": "t", "exp": True}
    return tensors, {"site": d.site, "activation": d.activation.name, "tensors": named}


@pytest.mark.parametrize("kind", ["safetensors", "npz", "pt"])
@pytest.mark.parametrize("name", ["relu", "topk", "jumprelu"])
def test_a_described_dictionary_comes_back(name, kind, tmp_path):
    d = random_dictionary(name)
    tensors, described = parts(d)
    described["constants"] = d.activation.constants
    if kind == "pt":
        described["under"] = "model"
    source, options = write(tmp_path, tensors, described, kind)
    if kind == "pt":
        with pytest.raises(FormatError, match="step"):
            one(source, options)
        source, options = write(tmp_path, tensors, described | {"ignore": ["step"]}, kind)
    again = one(source, options)
    rows = torch.randn(32, d.width)
    assert torch.allclose(again.reconstruct(rows), d.reconstruct(rows), atol=1e-5)


def test_crosscoder_axes_are_put_in_order(tmp_path):
    d = random_dictionary(
        "relu", width=8, kind="crosscoder", sites=("reference/resid_post.1", "candidate/resid_post.1")
    )
    tensors = {"E": d.encoder.T.unflatten(0, (2, 4)), "D": d.decoder.unflatten(1, (2, 4)).transpose(0, 1)}
    described = {
        "sites": list(d.sites),
        "activation": "relu",
        "tensors": {"encoder": {"name": "E", "axes": "sdf"}, "decoder": {"name": "D", "axes": "sfd"}},
    }
    again = one(*write(tmp_path, tensors, described))
    assert again.sites == d.sites and again.widths == (4, 4)
    rows = torch.randn(32, 8)
    codes = torch.relu(rows @ d.encoder.T)
    assert torch.allclose(again.reconstruct(rows), codes @ d.decoder, atol=1e-5)


def test_scales_are_folded_with_the_thresholds(tmp_path):
    d = random_dictionary("jumprelu")
    tensors, described = parts(d)
    again = one(*write(tmp_path, tensors, described | {"input_scale": 2.5}))
    rows = torch.randn(32, d.width)
    assert torch.allclose(again.reconstruct(rows), d.reconstruct(rows * 2.5) / 2.5, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"colour": "red"}, FormatError, "colour"),
        ({"activation": "swish"}, UserError, "swish"),
        ({"site": "resid_pots.1"}, UserError, "site"),
        ({"site": None}, Refusal, "--site"),
        ({"constants": {"k": 2}}, FormatError, "constants"),
        ({"tensors": {"encoder": "A"}}, FormatError, "decoder"),
        ({"tensors": {"encoder": {"name": "A", "axes": "dd"}, "decoder": "B"}}, FormatError, "axes"),
        ({"tensors": {"encoder": {"name": "A", "turn": 1}, "decoder": "B"}}, FormatError, "turn"),
        ({"tensors": {"encoder": "missing", "decoder": "B"}}, FormatError, "missing"),
    ],
)
def test_what_the_map_gets_wrong_is_named(change, error, words, tmp_path):
    tensors, described = parts(random_dictionary("relu"))
    with pytest.raises(error, match=words):
        one(*write(tmp_path, tensors, {k: v for k, v in (described | change).items() if v is not None}))


def test_a_tensor_that_the_map_forgets_is_an_error_unless_ignored(tmp_path):
    tensors, described = parts(random_dictionary("relu"))
    tensors["momentum.1"] = torch.ones(3)
    with pytest.raises(FormatError, match="momentum"):
        one(*write(tmp_path, tensors, described))
    one(*write(tmp_path, tensors, described | {"ignore": ["momentum.*"]}))


def test_without_a_map_the_option_is_named(tmp_path):
    source, _ = write(tmp_path, {"A": torch.ones(2, 2)}, {})
    with pytest.raises(Refusal, match="--map"):
        list(import_source(source, format="generic"))
