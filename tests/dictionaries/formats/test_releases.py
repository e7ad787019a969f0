"""Formats without a library that installs: files written here from their description, functions computed a second way.

Every case states what the file's own code would compute, densely and row by row; the reader must give the same.
"""

import json

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import save_file

from radiograph.core import FormatError, Refusal, UserError
from radiograph.dictionaries.formats import Options, Source, detect, export, import_source

D, F, OUT, N = 6, 10, 4, 32


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float32)


ROWS = normal(N, D, seed=99) * 2 + 0.5


def topk(pre, k):
    kept = pre.topk(k, dim=1).indices
    return torch.zeros_like(pre).scatter(1, kept, pre.gather(1, kept)).clamp_min(0)


def jump(pre, threshold):
    return pre * (pre > threshold)


def unit_rms(x):
    return x * x.shape[1] ** 0.5 / x.norm(dim=1, keepdim=True)


def weights(out=D, seed=0):
    return {
        "E": normal(F, D, seed=seed),
        "D": normal(F, out, seed=seed + 1),
        "b": 0.3 * normal(F, seed=seed + 2),
        "g": 0.3 * normal(out, seed=seed + 3),
        "t": normal(F, seed=seed + 4).abs() + 0.2,
        "S": normal(out, D, seed=seed + 5),
    }


def gemma_scope(folder):
    w = weights()
    place = folder / "gemma-scope-2b-pt-res" / "layer_1" / "width_10" / "average_l0_7"
    place.mkdir(parents=True)
    np.savez(place / "params.npz", W_enc=w["E"].T, W_dec=w["D"], b_enc=w["b"], b_dec=w["g"], threshold=w["t"])
    return jump(ROWS @ w["E"].T + w["b"], w["t"]) @ w["D"] + w["g"], ("resid_post.1", "resid_post.1")


def gemma_scope_att(folder):
    w = weights(seed=10)
    place = folder / "gemma-scope-2b-pt-att" / "layer_2" / "width_10" / "average_l0_7"
    place.mkdir(parents=True)
    np.savez(place / "params.npz", w_enc=w["E"].T, w_dec=w["D"], B_enc=w["b"], B_dec=w["g"], Threshold=w["t"])
    return jump(ROWS @ w["E"].T + w["b"], w["t"]) @ w["D"] + w["g"], ("attn_z.2", "attn_z.2")


def gemma_scope_embedding(folder):
    w = weights(seed=20)
    place = folder / "gemma-scope-2b-pt-res" / "embedding" / "width_10" / "average_l0_7"
    place.mkdir(parents=True)
    np.savez(place / "params.npz", W_enc=w["E"].T, W_dec=w["D"], b_enc=w["b"], b_dec=w["g"], threshold=w["t"])
    plain = ROWS / D**0.5  # the file reads the embedding before the model multiplies it
    return (jump(plain @ w["E"].T + w["b"], w["t"]) @ w["D"] + w["g"]) * D**0.5, ("embed", "embed")


def gemma_scope_transcoder(folder):
    w = weights(OUT, seed=30)
    place = folder / "gemma-scope-2b-pt-transcoders" / "layer_1" / "width_10" / "average_l0_7"
    place.mkdir(parents=True)
    np.savez(place / "params.npz", W_enc=w["E"].T, W_dec=w["D"], b_enc=w["b"], b_dec=w["g"], threshold=w["t"])
    return jump(unit_rms(ROWS) @ w["E"].T + w["b"], w["t"]) @ w["D"] + w["g"], ("resid_mid.1", "mlp_out.1")


def gemma_scope_2(folder):
    w = weights(OUT)
    place = folder / "transcoder" / "layer_3_width_10_l0_9_affine"
    place.mkdir(parents=True)
    config = {
        "architecture": "jump_relu",
        "model_name": "a-model",
        "hf_hook_point_in": "model.language_model.layers.3.pre_feedforward_layernorm.output",
        "hf_hook_point_out": "model.language_model.layers.3.post_feedforward_layernorm.output",
    }
    (place / "config.json").write_text(json.dumps(config))
    tensors = {"w_enc": w["E"].T, "w_dec": w["D"], "b_enc": w["b"], "b_dec": w["g"], "threshold": w["t"]}
    tensors["affine_skip_connection"] = w["S"].T
    save_file({k: v.contiguous() for k, v in tensors.items()}, place / "params.safetensors")
    output = jump(ROWS @ w["E"].T + w["b"], w["t"]) @ w["D"] + w["g"] + ROWS @ w["S"].T
    return output, ("mlp_in.3", "mlp_out.3")


def gemma_scope_2_attention(folder):
    w = weights(seed=5)
    place = folder / "attn_out_all" / "layer_3_width_10_l0_9"
    place.mkdir(parents=True)
    hook = "model.layers.3.self_attn.o_proj.input"
    config = {"architecture": "jump_relu", "hf_hook_point_in": hook, "hf_hook_point_out": hook}
    (place / "config.json").write_text(json.dumps(config))
    tensors = {"w_enc": w["E"].T, "w_dec": w["D"], "b_enc": w["b"], "b_dec": w["g"], "threshold": w["t"]}
    save_file({k: v.contiguous() for k, v in tensors.items()}, place / "params.safetensors")
    return jump(ROWS @ w["E"].T + w["b"], w["t"]) @ w["D"] + w["g"], ("attn_z.3", "attn_z.3")


def llama_scope(folder):
    w = weights()
    a, a_out, threshold = D**0.5 / 3.0, D**0.5 / 5.0, 0.7
    config = {
        "hook_point_in": "blocks.4.hook_mlp_in",
        "hook_point_out": "blocks.4.hook_mlp_out",
        "act_fn": "jumprelu",
        "jump_relu_threshold": threshold,
        "dataset_average_activation_norm": {"in": 3.0, "out": 5.0},
    }
    (folder / "checkpoints").mkdir()
    (folder / "hyperparams.json").write_text(json.dumps(config))
    tensors = {"encoder.weight": w["E"], "encoder.bias": w["b"], "decoder.weight": w["D"].T, "decoder.bias": w["g"]}
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "checkpoints" / "final.safetensors")
    codes = jump(a * ROWS @ w["E"].T + w["b"], threshold * a)
    return (codes @ w["D"] + w["g"]) / a_out, ("resid_mid.4", "mlp_out.4")


def qwen_scope(folder):
    w = weights()
    torch.save({"W_enc": w["E"], "W_dec": w["D"].T, "b_enc": w["b"], "b_dec": w["g"]}, folder / "layer5.sae.pt")
    return topk(ROWS @ w["E"].T + w["b"], 3) @ w["D"] + w["g"], ("resid_post.5", "resid_post.5")


def goodfire(folder):
    w = weights()
    names = {"encoder_linear.weight": w["E"], "encoder_linear.bias": w["b"]}
    names |= {"decoder_linear.weight": w["D"].T, "decoder_linear.bias": w["g"]}
    torch.save({k: v.contiguous() for k, v in names.items()}, folder / "Llama-3-8B-SAE-l19.pth")
    return (ROWS @ w["E"].T + w["b"]).clamp_min(0) @ w["D"] + w["g"], ("resid_post.19", "resid_post.19")


def openai(folder):
    w = weights()
    place = folder / "resid_post_mlp_v5_32k" / "autoencoders"
    place.mkdir(parents=True)
    names = {"pre_bias": w["g"], "latent_bias": w["b"], "encoder.weight": w["E"], "decoder.weight": w["D"].T}
    state = {"activation": "TopK", "activation_state_dict": {"k": 3, "postact_fn": "ReLU"}}
    torch.save(names | {"stats_last_nonzero": torch.zeros(F, dtype=torch.long)} | state, place / "8.pt")
    mean, std = ROWS.mean(1, keepdim=True), ROWS.std(1, keepdim=True)
    n = (ROWS - mean) / (std + 1e-5)
    output = topk((n - w["g"]) @ w["E"].T + w["b"], 3) @ w["D"] + w["g"]
    return output * std + mean, ("resid_post.8", "resid_post.8")


def openai_relu(folder):
    w = weights(seed=7)
    place = folder / "mlp_post_act" / "autoencoders"
    place.mkdir(parents=True)
    names = {"pre_bias": w["g"], "latent_bias": w["b"], "encoder.weight": w["E"], "decoder.weight": w["D"].T}
    torch.save(names | {"activation": "ReLU", "activation_state_dict": {}}, place / "2.pt")
    output = ((ROWS - w["g"]) @ w["E"].T + w["b"]).clamp_min(0) @ w["D"] + w["g"]
    return output, ("mlp_hidden.2", "mlp_hidden.2")


def moss(folder, **config):
    hook = "blocks.1.hook_resid_post"
    config = {"sae_type": "sae", "hook_point_in": hook, "hook_point_out": hook, "d_model": D} | config
    (folder / "config.json").write_text(json.dumps(config))
    w = weights()
    tensors = {"W_E": w["E"].T, "b_E": w["b"], "W_D": w["D"], "b_D": w["g"]}
    tensors[f"dataset_average_activation_norm.{hook}"] = torch.tensor(4.0)
    if config.get("act_fn") == "jumprelu":
        tensors["activation_function.log_jumprelu_threshold"] = w["t"].log()
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "sae_weights.safetensors")
    return w


def llamascopium(folder):
    w = moss(folder, act_fn="jumprelu", norm_activation="dataset-wise")
    a, norms = D**0.5 / 4.0, w["D"].norm(dim=1)
    codes = jump((a * ROWS @ w["E"].T + w["b"]) * norms, w["t"]) / norms
    return (codes @ w["D"] + w["g"]) / a, ("resid_post.1", "resid_post.1")


def llamascopium_inference(folder):
    w = moss(folder, act_fn="topk", top_k=3, norm_activation="inference", sparsity_include_decoder_norm=False)
    return topk(ROWS @ w["E"].T + w["b"], 3) @ w["D"] + w["g"], ("resid_post.1", "resid_post.1")


def llamascopium_token_wise(folder):
    w = moss(folder, act_fn="relu", norm_activation="token-wise")
    a = D**0.5 / ROWS.norm(dim=1, keepdim=True)
    return ((a * ROWS @ w["E"].T + w["b"]).clamp_min(0) @ w["D"] + w["g"]) / a, ("resid_post.1", "resid_post.1")


def circuit_tracer(folder, threshold=True):
    w = weights()
    config = {"model_name": "a-model", "feature_input_hook": "mlp.hook_in", "feature_output_hook": "hook_mlp_out"}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    tensors = {"W_enc": w["E"], "W_dec": w["D"], "b_enc": w["b"], "b_dec": w["g"], "W_skip": w["S"]}
    if threshold:
        tensors["activation_function.threshold"] = w["t"]
    save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "layer_2.safetensors")
    pre = ROWS @ w["E"].T + w["b"]
    codes = jump(pre, w["t"]) if threshold else pre.clamp_min(0)
    return codes @ w["D"] + w["g"] + ROWS @ w["S"].T, ("mlp_in.2", "mlp_out.2")


def circuit_tracer_relu(folder):
    return circuit_tracer(folder, threshold=False)


def circuit_tracer_normalised(folder):
    circuit_tracer(folder)
    config = yaml.safe_load((folder / "config.yaml").read_text()) | {"feature_input_hook": "ln2.hook_normalized"}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    w = weights()
    codes = jump(unit_rms(ROWS) @ w["E"].T + w["b"], w["t"])
    return codes @ w["D"] + w["g"] + ROWS @ w["S"].T, ("resid_mid.2", "mlp_out.2")


OPTIONS = {"qwen_scope": Options(k=3)}
CASES = {
    f.__name__: f
    for f in (
        gemma_scope,
        gemma_scope_att,
        gemma_scope_embedding,
        gemma_scope_transcoder,
        gemma_scope_2,
        gemma_scope_2_attention,
        llama_scope,
        qwen_scope,
        goodfire,
        openai,
        openai_relu,
        llamascopium,
        llamascopium_inference,
        llamascopium_token_wise,
        circuit_tracer,
        circuit_tracer_relu,
        circuit_tracer_normalised,
    )
}
NAMES = (
    "gemma_scope_2",
    "gemma_scope",
    "llama_scope",
    "qwen_scope",
    "goodfire",
    "openai",
    "llamascopium",
    "circuit_tracer",
)


def name_of(case):
    return next(name for name in NAMES if case.startswith(name))


def read(folder, options=None):
    (finished,) = import_source(Source.open(folder), options or Options())
    return finished.dictionary


def close(found, wanted):
    return found.shape == wanted.shape and float((found - wanted).abs().max() / wanted.abs().max()) < 1e-5


@pytest.mark.parametrize("case", CASES)
def test_the_reader_computes_what_the_file_s_own_code_does(case, tmp_path):
    output, (site, target) = CASES[case](tmp_path)
    assert name_of(case) == detect(Source.open(tmp_path)).NAME
    dictionary = read(tmp_path, OPTIONS.get(case))
    assert (dictionary.site, dictionary.targets[0]) == (site, target)
    assert close(dictionary.reconstruct(ROWS), output)


def test_the_number_that_a_release_s_name_records_is_kept(tmp_path):
    gemma_scope(tmp_path)
    (finished,) = import_source(Source.open(tmp_path))
    assert finished.recorded.l0 == 7


def test_a_gemma_transcoder_offers_both_readings_of_its_input(tmp_path):
    gemma_scope_transcoder(tmp_path)
    source = Source.open(tmp_path)
    (imported,) = detect(source).read(source, Options())
    (rival,) = imported.rivals.values()
    assert (rival.site, rival.normalisation) == ("mlp_in.1", "none")


WRONG = [c for c in CASES if c in NAMES and c != "gemma_scope_2"] + ["gemma_scope_2_attention"]


@pytest.mark.parametrize("case", [c for c in CASES if c in NAMES])
def test_a_tensor_that_nobody_knows_is_named(case, tmp_path):
    CASES[case](tmp_path)
    path, tensors = stored(tmp_path)
    save(path, tensors | {"odd_one": torch.ones(3)})
    with pytest.raises(FormatError, match="odd_one"):
        read(tmp_path, OPTIONS.get(case))


@pytest.mark.parametrize("folder", ["embedding-study", "transcoders", "clt", "a-mlp"])
@pytest.mark.parametrize("case", ["gemma_scope", "gemma_scope_2_attention"])
def test_folders_above_a_release_decide_nothing(case, folder, tmp_path):
    (tmp_path / folder).mkdir()
    _, (site, _) = CASES[case](tmp_path / folder)
    assert read(tmp_path).site == site


@pytest.mark.parametrize("case", WRONG)
def test_a_turned_decoder_is_an_error(case, tmp_path):
    CASES[case](tmp_path)
    path, tensors = stored(tmp_path)
    key = next(k for k in tensors if k.lower().removesuffix(".weight") in ("w_dec", "w_d", "decoder", "decoder_linear"))
    save(path, tensors | {key: tensors[key].T.contiguous()})
    with pytest.raises(UserError):
        read(tmp_path, OPTIONS.get(case))


def stored(folder):
    (path,) = [p for p in folder.rglob("*") if p.suffix in (".npz", ".pt", ".pth", ".safetensors")]
    found = Source.open(folder).peek(path.relative_to(folder).as_posix())
    return path, {k: v.clone() if isinstance(v, torch.Tensor) else v for k, v in found.items()}


def save(path, tensors):
    path.unlink()  # it may be mapped
    if path.suffix == ".npz":
        np.savez(path, **{k: v.numpy() for k, v in tensors.items()})
    elif path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)


def test_an_npz_with_objects_is_refused(tmp_path):
    gemma_scope(tmp_path)
    (path,) = tmp_path.rglob("params.npz")
    arrays = dict(np.load(path))
    np.savez(path, **(arrays | {"b_dec": np.array([object()])}))
    with pytest.raises(FormatError, match=r"without running code|object"):
        read(tmp_path)


def test_what_no_file_says_is_asked_for(tmp_path):
    qwen_scope(tmp_path)
    with pytest.raises(Refusal, match="how many features") as caught:
        read(tmp_path)
    assert "--k" in str(caught.value.fix)
    (tmp_path / "cc").mkdir()
    w = [normal(D, F, seed=i) for i in range(2)]
    tensors = {"W_enc": torch.stack(w), "W_dec": normal(F, 2, D), "b_enc": normal(F), "b_dec": normal(2, D)}
    torch.save(tensors, tmp_path / "cc" / "cc_weights.pt")
    with pytest.raises(Refusal, match="scale") as caught:
        read(tmp_path / "cc", Options(layer=4))
    assert "--input-scale A,B" in str(caught.value.fix)
    dictionary = read(tmp_path / "cc", Options(layer=4, input_scale=(0.5, 2.0)))
    assert dictionary.sites == ("reference/resid_pre.4", "candidate/resid_pre.4")
    rows = torch.cat([ROWS, ROWS.flip(0)], dim=1)
    pre = 0.5 * ROWS @ w[0] + 2.0 * ROWS.flip(0) @ w[1] + tensors["b_enc"]
    out = torch.einsum("nf,fsd->nsd", pre.clamp_min(0), tensors["W_dec"]) + tensors["b_dec"]
    assert close(dictionary.reconstruct(rows), torch.cat([out[:, 0] / 0.5, out[:, 1] / 2.0], dim=1))


@pytest.mark.parametrize(
    ("config", "what"),
    [
        ({"sae_type": "lorsa"}, "lorsa"),
        ({"use_glu_encoder": True}, "gated linear"),
        ({"act_fn": "batchtopk"}, "batch-top-k"),
        ({"act_fn": "relu", "norm_activation": "batch-wise"}, "batch"),
    ],
)
def test_what_has_no_codec_of_ours_is_refused_by_name(config, what, tmp_path):
    moss(tmp_path, **config)
    with pytest.raises((UserError, Refusal), match=what):
        read(tmp_path)


def test_a_moss_crosscoder_reads_and_writes_its_hooks(tmp_path):
    hooks = ["blocks.0.hook_resid_post", "blocks.1.hook_resid_post"]
    config = {"sae_type": "crosscoder", "hook_points": hooks, "act_fn": "relu", "norm_activation": "inference"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    tensors = {"W_E": normal(2, D, F), "b_E": normal(2, F, seed=1), "W_D": normal(2, F, D, seed=2), "b_D": normal(2, D)}
    save_file(tensors, tmp_path / "sae_weights.safetensors")
    dictionary = read(tmp_path)
    assert dictionary.sites == ("resid_post.0", "resid_post.1")
    pre = ROWS @ tensors["W_E"][0] + ROWS.flip(0) @ tensors["W_E"][1] + tensors["b_E"].sum(0)
    out = [pre.clamp_min(0) @ tensors["W_D"][s] + tensors["b_D"][s] for s in range(2)]
    assert close(dictionary.reconstruct(torch.cat([ROWS, ROWS.flip(0)], 1)), torch.cat(out, 1))
    (tmp_path / "config.json").write_text(json.dumps(config | {"act_fn": "topk", "top_k": 2}))
    with pytest.raises(Refusal, match="each source"):
        read(tmp_path)


def test_sets_hold_a_dictionary_a_layer(tmp_path):
    circuit_tracer(tmp_path)
    (tmp_path / "layer_0.safetensors").write_bytes((tmp_path / "layer_2.safetensors").read_bytes())
    found = [(f.name, f.dictionary.site) for f in import_source(Source.open(tmp_path))]
    assert found == [("layer_0", "mlp_in.0"), ("layer_2", "mlp_in.2")]


def test_cross_layer_sets_are_refused(tmp_path):
    circuit_tracer(tmp_path)
    save_file({"W_enc_0": normal(F, D)}, tmp_path / "W_enc_0.safetensors")
    with pytest.raises(Refusal, match="several layers"):
        read(tmp_path)


@pytest.mark.parametrize(("case", "name"), [("circuit_tracer", "circuit_tracer"), ("gemma_scope", "gemma_scope")])
def test_what_we_write_reads_back_bit_for_bit(case, name, tmp_path):
    (tmp_path / "in").mkdir()
    CASES[case](tmp_path / "in")
    dictionary = read(tmp_path / "in")
    written = export(dictionary, name, tmp_path / "out")
    assert written.identical
    assert read(tmp_path / "out").hash == dictionary.hash
