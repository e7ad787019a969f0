"""SAELens: what the library itself saved gives what the library itself said, and reads back from what we write."""

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
from radiograph.dictionaries.formats.libraries import saelens

HERE = Path(__file__).parent
FIXTURES = HERE / "fixtures" / "saelens"
CASES = sorted(p.name for p in FIXTURES.iterdir() if p.is_dir())
SCALED = Options(input_scale=(3.0,))


@pytest.fixture(scope="module")
def expected():
    return load_file(FIXTURES / "expected.safetensors")


def read(folder, options=SCALED):
    (finished,) = import_source(Source.open(folder), options)
    return finished.dictionary


def close(found, wanted):
    return float((found - wanted).abs().max() / wanted.abs().max()) < 1e-5


def agrees(dictionary, said):
    """Codes as lengths of what they write, which no folding changes, and outputs."""
    norms = dictionary.decoder.norm(dim=1)
    lengths = dictionary.encode_dense(said["rows"]) * norms
    return close(lengths, said["codes"] * said["norms"]) and close(dictionary.reconstruct(said["rows"]), said["output"])


def said(expected, case):
    return {name: expected[f"{case}/{name}"] for name in ("rows", "codes", "norms", "output")}


@pytest.mark.parametrize("case", CASES)
def test_codes_and_outputs_are_those_of_the_library(case, expected):
    assert detect(Source.open(FIXTURES / case)).NAME == "saelens"
    assert agrees(read(FIXTURES / case), said(expected, case))


@pytest.mark.parametrize("case", CASES)
def test_a_wrong_orientation_is_an_error_or_gives_something_else(case, expected, tmp_path):
    shutil.copytree(FIXTURES / case, tmp_path / case)
    path = tmp_path / case / saelens.WEIGHTS
    tensors = load_file(path)
    tensors["W_dec"] = tensors["W_dec"].T.contiguous()
    save_file(tensors, path)
    try:
        dictionary = read(tmp_path / case)
    except FormatError as error:
        assert "W_dec" in str(error)
    else:
        assert case == "standard-square" and not agrees(dictionary, said(expected, case))


@pytest.mark.parametrize("case", [c for c in CASES if "pursuit" not in c and "centred" not in c])
def test_what_we_write_reads_back_bit_for_bit(case, tmp_path):
    dictionary = read(FIXTURES / case)
    written = export(dictionary, "saelens", tmp_path / "out")
    assert written.difference <= 1e-6
    again = read(tmp_path / "out", Options())
    has_own_bias = bool((dictionary.input_bias != 0).any()) and not torch.equal(
        dictionary.input_bias, dictionary.decoder_bias
    )
    assert again.hash == dictionary.hash or has_own_bias
    assert written.identical == (again.hash == dictionary.hash)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"name": "groupmax"}, "groupmax"),
        ({"name": "pursuit"}, "pursuit"),
        ({"name": "relu", "selection": "decoder_norm"}, "selection"),
        ({"name": "relu", "normalisation": "centre"}, "centre"),
        ({"name": "relu", "normalisation": "layer_norm", "denormalise": False}, "not undone"),
        ({"name": "topk", "kind": "transcoder", "target": "mlp_out.1"}, "transcoder with topk"),
        ({"name": "relu", "kind": "crosscoder", "sites": ("resid_post.0", "resid_post.1")}, "crosscoder"),
    ],
)
def test_what_the_format_cannot_express_is_refused_by_name(change, what, tmp_path):
    with pytest.raises(Refusal, match=what) as caught:
        export(random_dictionary(**change), "saelens", tmp_path / "out")
    assert caught.value.code == "not_expressible"
    assert not (tmp_path / "out").exists()


def test_a_writer_that_gives_something_else_back_leaves_nothing(tmp_path, monkeypatch):
    write = saelens.write

    def wrong(dictionary, folder):
        write(dictionary, folder)
        retensor(folder, b_enc=load_file(folder / saelens.WEIGHTS)["b_enc"] + 1e-3)

    monkeypatch.setattr(saelens, "write", wrong)
    with pytest.raises(Refusal) as caught:
        export(read(FIXTURES / "jumprelu"), "saelens", tmp_path / "out")
    assert caught.value.code == "export_differs" and not (tmp_path / "out").exists()


def test_an_input_bias_of_its_own_moves_into_the_encoder_bias(tmp_path):
    for name in ("relu", "topk", "jumprelu", "gated"):
        dictionary = random_dictionary(name)
        export(dictionary, "saelens", tmp_path / name)
        again = read(tmp_path / name, Options())
        assert bool((again.input_bias == 0).all())
        assert compare(dictionary, again) < 1e-6


def rewrite(folder, tmp_path, **changes):
    """A copy whose configuration says something else; None takes a key away."""
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / saelens.CONFIG).read_text()) | changes
    (tmp_path / saelens.CONFIG).write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    return tmp_path


def retensor(folder, **changes):
    tensors = load_file(folder / saelens.WEIGHTS) | changes
    save_file({k: v for k, v in tensors.items() if v is not None}, folder / saelens.WEIGHTS)
    return folder


def test_normalisation_without_its_factor_names_the_option(tmp_path):
    with pytest.raises(Refusal, match="--input-scale") as caught:
        read(FIXTURES / "topk-scaled", Options())
    assert caught.value.exit_code == 3


def test_whitening_is_refused(tmp_path):
    with pytest.raises(Refusal, match="covariance_whitening"):
        read(rewrite(FIXTURES / "standard", tmp_path, normalize_activations="covariance_whitening"))


def test_a_batch_topk_whose_threshold_was_never_estimated_is_refused(tmp_path):
    folder = rewrite(FIXTURES / "checkpoint-batchtopk", tmp_path)
    with pytest.raises(Refusal, match="never estimated"):
        read(retensor(folder, topk_threshold=torch.tensor(-1.0, dtype=torch.float64)))


@pytest.mark.parametrize(
    ("case", "changes", "words"),
    [
        ("standard", {"architecture": "temporal"}, "temporal"),
        ("standard", {"mystery": 3}, "mystery"),
        ("matching_pursuit", {"stop_on_duplicate_support": False}, "stop_on_duplicate_support"),
        ("standard", {"d_sae": 11}, "W_dec"),
        ("standard", {"architecture": "jumprelu"}, "threshold"),
        ("gated", {"architecture": "standard"}, "b_enc"),
    ],
)
def test_what_the_reader_does_not_know_is_named(case, changes, words, tmp_path):
    with pytest.raises(FormatError, match=words):
        read(rewrite(FIXTURES / case, tmp_path, **changes))


def test_an_unknown_tensor_is_named(tmp_path):
    with pytest.raises(FormatError, match="extra"):
        read(retensor(rewrite(FIXTURES / "standard", tmp_path), extra=torch.ones(2)))


def test_a_threshold_beside_k_does_not_change_a_topk_encoder(tmp_path):
    """It is an unknown tensor to this format, so it is an error and not a second opinion on what fires."""
    with pytest.raises(FormatError, match="threshold"):
        read(retensor(rewrite(FIXTURES / "topk", tmp_path), threshold=torch.ones(10)))


def test_log_thresholds_of_old_checkpoints_are_exponents(tmp_path, expected):
    folder = rewrite(FIXTURES / "jumprelu", tmp_path)
    threshold = load_file(folder / saelens.WEIGHTS)["threshold"]
    retensor(folder, threshold=None, log_threshold=threshold.log())
    assert agrees(read(folder), said(expected, "jumprelu"))


def test_sparsity_gives_the_recorded_l0(tmp_path):
    folder = rewrite(FIXTURES / "standard", tmp_path)
    save_file({"sparsity": torch.full((10,), -1.0)}, folder / saelens.SPARSITY)
    (finished,) = import_source(Source.open(folder))
    assert finished.recorded is not None and finished.recorded.l0 == pytest.approx(1.0)


def test_sites_heads_and_paths(tmp_path):
    assert read(FIXTURES / "standard-head").sites == ("attn_z.1.h2",)
    assert read(FIXTURES / "standard-centred").normalisation == "centre"
    transcoder = read(FIXTURES / "transcoder")
    assert (transcoder.sites, transcoder.target) == (("resid_mid.1",), "mlp_out.1")
    meta = json.loads((FIXTURES / "standard" / saelens.CONFIG).read_text())["metadata"]
    path = {**meta, "hook_name": "blocks.0.hook_mlp_in", "hf_hook_name": "model.layers.7.mlp.input"}
    assert read(rewrite(FIXTURES / "standard", tmp_path / "a", metadata=path)).sites == ("mlp_in.7",)
    before = {**meta, "hook_name": "blocks.3.ln2.hook_normalized"}
    found = read(rewrite(FIXTURES / "standard", tmp_path / "b", metadata=before))
    assert (found.sites, found.normalisation) == (("resid_mid.3",), "unit_rms")


def test_several_folders_are_a_set(tmp_path):
    for layer in (0, 1):
        meta = {"hook_name": f"blocks.{layer}.hook_resid_post", "sae_lens_version": "6.1.0"}
        rewrite(FIXTURES / "standard", tmp_path / f"blocks.{layer}", metadata=meta)
    found = list(import_source(Source.open(tmp_path)))
    assert [(f.name, f.dictionary.site) for f in found] == [
        ("blocks.0", "resid_post.0"),
        ("blocks.1", "resid_post.1"),
    ]
    (one,) = import_source(Source.open(tmp_path), Options(layer=1))
    assert one.name == "blocks.1"


PEER = os.environ.get("RADIOGRAPH_PEER_SAELENS")


@pytest.mark.peers
@pytest.mark.skipif(not PEER, reason="RADIOGRAPH_PEER_SAELENS names no interpreter with SAELens")
def test_the_library_reads_what_we_write(tmp_path):
    script = HERE / "peers" / "saelens.py"
    subprocess.run([PEER, script, "write", tmp_path / "live"], check=True, timeout=300)
    live = load_file(tmp_path / "live" / "expected.safetensors")
    dictionaries = {case: read(tmp_path / "live" / case) for case in CASES}
    assert [case for case, d in dictionaries.items() if not agrees(d, said(live, case))] == []
    written = {case: d for case, d in dictionaries.items() if "pursuit" not in case and "centred" not in case}
    for case, dictionary in written.items():
        export(dictionary, "saelens", tmp_path / "ours" / case)
    save_file({case: live[f"{case}/rows"] for case in written}, tmp_path / "ours" / "rows.safetensors")
    subprocess.run([PEER, script, "read", tmp_path / "ours", tmp_path / "out"], check=True, timeout=300)
    back = load_file(tmp_path / "out")
    assert [case for case, d in written.items() if not agrees(d, said(back, case))] == []
