"""What other libraries saved gives what they themselves said, turned files fail, and what we write reads back.

`fixtures/FORMAT` was written by the library itself (eai-sparsify 1.3.3, dictionary-learning 0.1.0, interp-lab 0.2.0,
circuit-tracer 0.5.0; crosscoder_learning at b2363ed, llamascopium at 95281ac, OpenAI's sparse_autoencoder at 4965b94)
through `peers/FORMAT.py`; `pytest -m peers` has it written again.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from dictionaries.make import random_dictionary
from radiograph.core import FormatError, Refusal
from radiograph.dictionaries.formats import Options, Source, compare, detect, export, import_source

HERE = Path(__file__).parent
FIXTURES = HERE / "fixtures"
FORMATS = (
    "sparsify",
    "dictionary_learning",
    "crosscoder_learning",
    "interp_lab",
    "circuit_tracer",
    "llamascopium",
    "openai",
)
BACK = ("sparsify", "dictionary_learning", "circuit_tracer")
OPTIONS = {"crosscoder_learning": Options(layer=1)}
WEIGHTS = {
    "sparsify": "sae.safetensors",
    "dictionary_learning": "ae.pt",
    "crosscoder_learning": "ae.pt",
    "interp_lab": "sae.json",
    "circuit_tracer": "layer_0.safetensors",
    "llamascopium": "sae_weights.safetensors",
    "openai": "1.pt",
}
SQUARE = ("square", "layers.4", "resid_post_attn-topk-square")
CASES = [(name, path.name) for name in FORMATS for path in sorted((FIXTURES / name).iterdir()) if path.is_dir()]


def read(folder, name=None, options=None):
    source = Source.open(folder)
    assert name in (None, detect(source).NAME)
    (finished,) = import_source(source, options or Options())
    return finished.dictionary


def said(name, case, folder=FIXTURES):
    stored = load_file(folder / name / "expected.safetensors")
    return {key.removeprefix(f"{case}/"): value for key, value in stored.items() if key.startswith(f"{case}/")}


def close(found, wanted):
    return float((found - wanted).abs().max() / wanted.abs().max()) < 1e-5


def lengths(dictionary, expected):
    """Codes as lengths of what they write, in the measure that the library compares by."""
    codes = dictionary.encode_dense(expected["rows"])
    return codes if dictionary.kind == "crosscoder" else codes * dictionary.decoder.norm(dim=1)


def agrees(dictionary, expected):
    same = close(dictionary.reconstruct(expected["rows"]), expected["output"])
    if dictionary.kind == "crosscoder":
        fires = (dictionary.encode_dense(expected["rows"]) != 0) == (expected["codes"] != 0)
        return same and bool(fires.all())
    return same and close(lengths(dictionary, expected), expected["codes"] * expected["norms"])


@pytest.mark.parametrize(("name", "case"), CASES)
def test_codes_and_outputs_are_those_of_the_library(name, case):
    assert agrees(read(FIXTURES / name / case, name, OPTIONS.get(name)), said(name, case))


def turned(name, folder):
    """Turn the decoder of the file."""
    path = folder / WEIGHTS[name]
    if path.suffix == ".safetensors":
        tensors = {key: tensor.clone() for key, tensor in load_file(path).items()}
        key = "W_D" if "W_D" in tensors else "W_dec"
        save_file(tensors | {key: tensors[key].transpose(-1, -2).contiguous()}, path)
    elif name == "interp_lab":
        document = json.loads(path.read_text())
        document["decoder_weight"] = torch.tensor(document["decoder_weight"]).T.tolist()
        path.write_text(json.dumps(document))
    else:
        tensors = torch.load(path, weights_only=True)
        key = next(k for k in tensors if k.endswith("decoder.weight") or k == "W_dec")
        torch.save(tensors | {key: tensors[key].transpose(-1, -2).contiguous()}, path)


@pytest.mark.parametrize(("name", "case"), CASES)
def test_a_wrong_orientation_is_an_error_or_gives_something_else(name, case, tmp_path):
    shutil.copytree(FIXTURES / name / case, tmp_path / case)
    turned(name, tmp_path / case)
    try:
        dictionary = read(tmp_path / case, name, OPTIONS.get(name))
    except FormatError:
        return
    assert case in SQUARE
    assert not agrees(dictionary, said(name, case))


def extended(name, folder, **extra):
    path = folder / WEIGHTS[name]
    if path.suffix == ".safetensors":
        save_file({key: tensor.clone() for key, tensor in load_file(path).items()} | extra, path)
    elif name == "interp_lab":
        path.write_text(json.dumps(json.loads(path.read_text()) | {k: v.tolist() for k, v in extra.items()}))
    else:
        torch.save(torch.load(path, weights_only=True) | extra, path)


@pytest.mark.parametrize("name", FORMATS)
def test_a_tensor_that_nobody_knows_is_named(name, tmp_path):
    case = next(c for n, c in CASES if n == name)
    shutil.copytree(FIXTURES / name / case, tmp_path / case)
    extended(name, tmp_path / case, odd_one=torch.ones(3))
    with pytest.raises(FormatError, match="odd_one"):
        read(tmp_path / case, name, OPTIONS.get(name))


WRITTEN = [(n, c) for n, c in CASES if n in ("sparsify", "circuit_tracer")] + [
    ("dictionary_learning", c) for c in ("AutoEncoder", "AutoEncoderNew", "GatedAutoEncoder", "JumpReluAutoEncoder")
]


@pytest.mark.parametrize(("name", "case"), [*WRITTEN, ("dictionary_learning", "AutoEncoderTopK")])
def test_what_we_write_reads_back_bit_for_bit(name, case, tmp_path):
    dictionary = read(FIXTURES / name / case, name)
    written = export(dictionary, name, tmp_path / "out")
    assert written.identical
    assert read(tmp_path / "out").hash == dictionary.hash


@pytest.mark.parametrize(
    ("name", "change", "what"),
    [
        ("sparsify", {"name": "relu"}, "activation relu"),
        ("sparsify", {"normalisation": "layer_norm"}, "normalisation"),
        ("sparsify", {}, "input bias"),
        ("sparsify", {"kind": "crosscoder", "sites": ("resid_post.0", "resid_post.1")}, "crosscoder"),
        ("dictionary_learning", {}, "input bias"),
        ("dictionary_learning", {"name": "groupmax"}, "groupmax"),
        ("dictionary_learning", {"name": "relu", "kind": "transcoder", "target": "mlp_out.1"}, "transcoder"),
        ("dictionary_learning", {"name": "relu", "sites": ("attn_z.1",)}, "attn_z.1"),
        ("circuit_tracer", {}, "topk"),
        ("circuit_tracer", {"name": "relu"}, "input bias"),
        ("circuit_tracer", {"kind": "crosscoder", "sites": ("resid_post.0", "resid_post.1")}, "crosscoder"),
        ("gemma_scope", {}, "topk"),
        ("gemma_scope", {"name": "jumprelu", "sites": ("embed",)}, "embed"),
    ],
)
def test_what_a_format_cannot_express_is_refused_by_name(name, change, what, tmp_path):
    with pytest.raises(Refusal, match=what) as caught:
        export(random_dictionary(**change), name, tmp_path / "out")
    assert caught.value.code == "not_expressible"
    assert not (tmp_path / "out").exists()


def test_a_skip_between_widths_is_refused(tmp_path):
    skip = torch.randn(9, 12)
    dictionary = random_dictionary(
        target_width=9, kind="transcoder", sites=("mlp_in.1",), target="mlp_out.1", skip=skip
    )
    with pytest.raises(Refusal, match="skip"):
        export(dictionary, "sparsify", tmp_path / "out")


def changed(tmp_path, case, **tensors):
    shutil.copytree(FIXTURES / "dictionary_learning" / case, tmp_path / case)
    path = tmp_path / case / "ae.pt"
    torch.save(torch.load(path, weights_only=True) | tensors, path)
    return tmp_path / case


def test_a_threshold_beside_k_does_not_change_a_top_k_encoder(tmp_path):
    plain = read(FIXTURES / "dictionary_learning" / "AutoEncoderTopK")
    other = read(changed(tmp_path, "AutoEncoderTopK", threshold=torch.tensor(9.0)))
    assert other.hash == plain.hash


def test_a_threshold_that_was_never_estimated_needs_rows(tmp_path):
    folder = changed(tmp_path, "BatchTopKSAE", threshold=torch.tensor(-1.0))
    with pytest.raises(Refusal, match="never estimated") as caught:
        read(folder)
    assert "--activations" in str(caught.value.fix)
    rows = torch.randn(500, 6) * 2
    settled = read(folder, options=Options(rows=lambda site: rows))
    assert float(settled.encode(rows).active.double().mean()) == pytest.approx(3, abs=0.01)


class Malicious:
    def __reduce__(self):
        return os.system, ("touch executed",)


@pytest.mark.parametrize("name", ["dictionary_learning", "crosscoder_learning", "openai"])
def test_a_pickle_that_would_run_something_is_refused_and_runs_nothing(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    case = next(c for n, c in CASES if n == name)
    shutil.copytree(FIXTURES / name / case, tmp_path / case)
    torch.save({"encoder.weight": Malicious()}, tmp_path / case / WEIGHTS[name])
    with pytest.raises(FormatError, match="more than tensors"):
        read(tmp_path / case, options=OPTIONS.get(name))
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(("code", "what"), [(3, "mixed"), (5, "per source"), (9, "9")])
def test_codes_that_are_no_crosscoder_of_ours_are_refused(code, what, tmp_path):
    shutil.copytree(FIXTURES / "crosscoder_learning" / "batchtopk", tmp_path / "c")
    path = tmp_path / "c" / "ae.pt"
    tensors = torch.load(path, weights_only=True)
    key = next(k for k in tensors if k.endswith("code_normalization_id"))
    torch.save(tensors | {key: torch.tensor(code)}, path)
    with pytest.raises(Refusal, match=what):
        read(tmp_path / "c", options=Options(layer=1))


@pytest.mark.parametrize("method", ["fallback", "fallback-dictionary"])
def test_an_untrained_file_is_refused_unless_it_is_wanted(method, tmp_path):
    document = json.loads((FIXTURES / "interp_lab" / "topk" / "sae.json").read_text()) | {"method": method}
    (tmp_path / "sae.json").write_text(json.dumps(document))
    with pytest.raises(Refusal, match="nobody trained") as caught:
        read(tmp_path)
    assert "--untrained" in str(caught.value.fix)
    assert read(tmp_path, options=Options(untrained=True)).size == 8


def test_signed_selection_is_refused(tmp_path):
    shutil.copytree(FIXTURES / "sparsify" / "layers.1", tmp_path / "layers.1")
    path = tmp_path / "layers.1" / "cfg.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"signed": True}))
    with pytest.raises(Refusal, match="signed"):
        read(tmp_path / "layers.1")


@pytest.mark.parametrize(("key", "value"), [("activation", "softmax"), ("new_rule", 1)])
def test_a_setting_that_nobody_knows_is_named(key, value, tmp_path):
    shutil.copytree(FIXTURES / "sparsify" / "layers.1", tmp_path / "layers.1")
    path = tmp_path / "layers.1" / "cfg.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))
    with pytest.raises(FormatError, match=key if key == "new_rule" else "softmax"):
        read(tmp_path / "layers.1")


def test_several_hooks_are_a_set_and_a_layer_chooses():
    found = {f.name: f.dictionary for f in import_source(Source.open(FIXTURES / "sparsify"))}
    assert found["layers.1"].site == "resid_post.1"
    assert found["h.2"].site == "resid_post.2"
    assert (found["layers.2.mlp"].site, found["layers.2.mlp"].target) == ("mlp_in.2", "mlp_out.2")
    (one,) = import_source(Source.open(FIXTURES / "sparsify"), Options(layer=3))
    assert one.name == "layers.3"


def test_a_site_that_no_file_names_is_asked_for():
    with pytest.raises(Refusal, match="which site"):
        read(FIXTURES / "crosscoder_learning" / "relu")
    found = read(FIXTURES / "crosscoder_learning" / "relu", options=Options(site="attn_out.0"))
    assert found.sites == ("reference/attn_out.0", "candidate/attn_out.0")


@pytest.mark.peers
@pytest.mark.parametrize("name", FORMATS)
def test_the_library_agrees_live_and_reads_what_we_write(name, tmp_path):
    python = os.environ.get(f"RADIOGRAPH_PEER_{name.upper()}")
    if not python:
        pytest.skip(f"RADIOGRAPH_PEER_{name.upper()} names no interpreter with this library")
    script = HERE / "peers" / f"{name}.py"
    subprocess.run([python, "-P", script, "write", tmp_path / name], check=True, timeout=300)
    cases = [c for n, c in CASES if n == name]
    live = {case: read(tmp_path / name / case, name, OPTIONS.get(name)) for case in cases}
    assert [c for c, d in live.items() if not agrees(d, said(name, c, tmp_path))] == []
    if name not in BACK:
        return
    back = [c for c in cases if c not in ("BatchTopKSAE", "MatryoshkaBatchTopKSAE")]
    for case in back:
        export(live[case], name, tmp_path / "ours" / case)
    save_file({c: said(name, c, tmp_path)["rows"] for c in back}, tmp_path / "ours" / "rows.safetensors")
    subprocess.run([python, "-P", script, "read", tmp_path / "ours", tmp_path / "out"], check=True, timeout=300)
    found = load_file(tmp_path / "out")
    for case in back:
        assert close(live[case].reconstruct(found[f"{case}/rows"]), found[f"{case}/output"]), case


def moss(tmp_path, case, **change):
    shutil.copytree(FIXTURES / "llamascopium" / case, tmp_path / case)
    path = tmp_path / case / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    return tmp_path / case


def test_norms_of_rows_that_are_written_are_in_no_file(tmp_path):
    with pytest.raises(Refusal, match="its own norm"):
        read(moss(tmp_path, "transcoder", norm_activation="token-wise"))


def test_a_k_that_a_file_says_twice_says_the_same(tmp_path):
    case = "resid_post_mlp-topk"
    shutil.copytree(FIXTURES / "openai" / case, tmp_path / case)
    path = tmp_path / case / "1.pt"
    torch.save(torch.load(path, weights_only=True) | {"activation.k": 7}, path)
    with pytest.raises(FormatError, match=r"activation\.k = 7"):
        read(tmp_path / case)


def test_comparison_of_readings_is_symmetric():
    a, b = read(FIXTURES / "sparsify" / "layers.1"), read(FIXTURES / "sparsify" / "layers.1")
    assert compare(a, b) == 0
