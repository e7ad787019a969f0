"""SAELens before 6: configurations as it wrote them, against what version 6, which still reads them, made of them."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dictionaries.formats.test_saelens import SCALED, agrees, said
from radiograph.core import FormatError, Refusal
from radiograph.dictionaries.formats import Options, Source, detect, import_source
from radiograph.dictionaries.formats.libraries import saelens

FIXTURES = Path(__file__).parent / "fixtures" / "saelens5"
CASES = sorted(p.name for p in FIXTURES.iterdir() if p.is_dir())


@pytest.fixture(scope="module")
def expected():
    return load_file(FIXTURES / "expected.safetensors")


def read(folder, options=SCALED):
    (finished,) = import_source(Source.open(folder), options)
    return finished.dictionary


def rewrite(case, tmp_path, tensors=None, **changes):
    """A copy with other keys or tensors."""
    shutil.copytree(FIXTURES / case, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / saelens.CONFIG).read_text()) | changes
    (tmp_path / saelens.CONFIG).write_text(json.dumps(config))
    if tensors:
        save_file(load_file(tmp_path / saelens.WEIGHTS) | tensors, tmp_path / saelens.WEIGHTS)
    return tmp_path


@pytest.mark.parametrize("case", CASES)
def test_codes_and_outputs_are_those_of_the_library(case, expected):
    assert detect(Source.open(FIXTURES / case)).NAME == "saelens5"
    assert agrees(read(FIXTURES / case), said(expected, case))


def test_older_names_of_keys():
    assert read(FIXTURES / "standard").sites == ("resid_pre.1",)
    assert read(FIXTURES / "standard-hook-z").sites == ("attn_z.1",)
    assert read(FIXTURES / "topk").activation.constants == {"k": 3}


def test_a_boolean_normalisation_is_the_one_without_a_factor():
    with pytest.raises(Refusal, match="--input-scale"):
        read(FIXTURES / "standard-scaled", Options())


def test_a_scaling_factor_multiplies_what_features_write(tmp_path):
    """By hand: no version at hand still applies it."""
    factor = torch.linspace(0.5, 2, 10)
    folder = rewrite("standard", tmp_path, {"scaling_factor": factor}, finetuning_scaling_factor=True)
    rows = torch.randn(16, 6)
    stored = load_file(folder / saelens.WEIGHTS)
    codes = torch.relu((rows - stored["b_dec"]) @ stored["W_enc"] + stored["b_enc"])
    wanted = (codes * factor) @ stored["W_dec"] + stored["b_dec"]
    assert torch.allclose(read(folder).reconstruct(rows), wanted, atol=1e-5)


def test_a_scaling_factor_that_nobody_says_is_used_is_an_error(tmp_path):
    with pytest.raises(FormatError, match="scaling_factor"):
        read(rewrite("standard", tmp_path, {"scaling_factor": torch.full((10,), 2.0)}))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"activation_fn": "tanh-relu", "activation_fn_str": "tanh-relu"}, "tanh-relu"),
        ({"architecture": "temporal"}, "temporal"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_what_the_reader_does_not_know_is_named(changes, words, tmp_path):
    with pytest.raises(FormatError, match=words):
        read(rewrite("standard", tmp_path, **changes))


def test_a_centred_model_has_a_stream_without_mean(tmp_path):
    folder = rewrite("topk", tmp_path, model_from_pretrained_kwargs={"center_writing_weights": True})
    assert read(folder).normalisation == "centre"


def test_wrong_orientation_is_an_error(tmp_path):
    for name in ("W_enc", "W_dec"):
        folder = rewrite("topk", tmp_path / name)
        turned = load_file(folder / saelens.WEIGHTS)[name].T.contiguous()
        with pytest.raises(FormatError, match=name):
            read(rewrite("topk", tmp_path / f"{name}-turned", {name: turned}))
