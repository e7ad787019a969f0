"""A configuration may tell anything about training, and nothing about its function that no reader understands.

Keys are added to valid files, one at a time. The configurations under `WRITTEN` have the keys that the libraries' own
code writes (dictionary-learning 0.1.0; crosscoder_learning at b2363ed; llamascopium at 95281ac, 2a151166 and 5284ba55;
interp-lab 0.2.0; circuit-tracer 0.5.0; SAELens 6.54.12) or that the releases publish.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from dictionaries.formats.test_releases import CASES, normal
from radiograph.core import FormatError
from radiograph.dictionaries.formats import Ledger, Options, Source, import_source

FIXTURES = Path(__file__).parent / "fixtures"


def copied(folder, format, case):
    shutil.copytree(FIXTURES / format / case, folder, dirs_exist_ok=True)


def crosscoder_learning(folder):
    copied(folder, "crosscoder_learning", "batchtopk-joint")
    (folder / "config.json").write_text(json.dumps({"code_normalization": "SAE"}))


def crosscoder_replication(folder):
    tensors = {"W_enc": normal(2, 6, 10), "W_dec": normal(10, 2, 6), "b_enc": normal(10), "b_dec": normal(2, 6)}
    torch.save(tensors, folder / "cc_weights.pt")
    (folder / "cfg.json").write_text(json.dumps({"hook_point": "blocks.1.hook_resid_pre", "model_name": "a-model"}))


GIVEN = {
    "crosscoder_learning": Options(layer=1),
    "crosscoder_replication": Options(input_scale=(0.5, 2.0)),
}
MADE = {
    "dictionary_learning": lambda f: copied(f, "dictionary_learning", "AutoEncoder"),
    "crosscoder_learning": crosscoder_learning,
    "crosscoder_replication": crosscoder_replication,
    "gemma_scope_2": CASES["gemma_scope_2"],
    "llama_scope": CASES["llama_scope"],
    "llamascopium": lambda f: copied(f, "llamascopium", "jumprelu"),
    "circuit_tracer": lambda f: copied(f, "circuit_tracer", "relu"),
    "saelens": lambda f: copied(f, "saelens", "standard"),
    "interp_lab": lambda f: copied(f, "interp_lab", "topk"),
    "openai": lambda f: copied(f / "mlp_post_act", "openai", "mlp_post_act-relu"),
}
# Of each format, the file and the mapping inside it whose keys are described.
PLACES = [
    ("dictionary_learning", "config.json", ()),
    ("dictionary_learning", "config.json", ("trainer",)),
    ("dictionary_learning", "config.json", ("buffer",)),
    ("crosscoder_learning", "config.json", ()),
    ("crosscoder_learning", "config.json", ("trainer", "dict_class_kwargs")),
    ("crosscoder_replication", "cfg.json", ()),
    ("gemma_scope_2", "config.json", ()),
    ("llama_scope", "hyperparams.json", ()),
    ("llamascopium", "config.json", ()),
    ("circuit_tracer", "config.yaml", ()),
    ("saelens", "cfg.json", ("metadata",)),
    ("interp_lab", "sae.json", ("config",)),
    ("openai", "1.pt", ("activation_state_dict",)),
]


def load(path):
    if path.suffix == ".pt":
        return torch.load(path, weights_only=True)
    return yaml.safe_load(path.read_text()) if path.suffix == ".yaml" else json.loads(path.read_text())


def imported(format, folder, name, inside=(), **keys):
    """The dictionary of a valid file with these keys added inside the mapping."""
    MADE[format](folder)
    (path,) = folder.rglob(name)
    document = load(path)
    place = document
    for step in inside:
        place = place.setdefault(step, {})
    place.update(keys)
    if path.suffix == ".pt":
        torch.save(document, path)
    else:
        path.write_text(yaml.safe_dump(document) if path.suffix == ".yaml" else json.dumps(document))
    (finished,) = import_source(Source.open(folder), GIVEN.get(format, Options()))
    return finished.dictionary, path


@pytest.mark.parametrize(("format", "name", "inside"), PLACES)
def test_a_key_that_decides_a_function_is_named_with_its_file(format, name, inside, tmp_path):
    with pytest.raises(FormatError, match="output_rescale") as caught:
        imported(format, tmp_path, name, inside, output_rescale=2.5)
    assert str(caught.value.where).split(":")[0].endswith(name)


@pytest.mark.parametrize(("format", "name", "inside"), PLACES)
def test_a_key_that_tells_of_training_changes_nothing(format, name, inside, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    told = {"wandb_project": "p", "lr_end_ratio": 0.1, "decoder_init_norm": 0.1, "k_warmup_steps": 100, "run": {"n": 1}}
    plain, _ = imported(format, tmp_path / "a", name)
    other, _ = imported(format, tmp_path / "b", name, inside, **told)
    assert other.hash == plain.hash


@pytest.mark.parametrize("format", ["dictionary_learning", "gemma_scope_2", "llamascopium", "circuit_tracer"])
@pytest.mark.parametrize("value", [None, False, 0, 0.0, "none", "None", "", [], {}])
def test_what_is_switched_off_decides_nothing(format, value, tmp_path):
    name = next(name for f, name, _ in PLACES if f == format)
    imported(format, tmp_path, name, input_whitening=value)


DECIDING = [
    *(
        "normalize",
        "normalise_rows",
        "layer_norm",
        "activationNormalization",
        "input_scale",
        "rescale",
        "scaling_factor",
    ),
    *("norm_factor", "target_rms", "center_rows", "mean_centred", "recentre", "input_mean", "whiten", "transform"),
    *("apply_b_dec_to_input", "apply_decoder_bias_to_pre_encoder", "subtract_mean", "fold_mean", "reshape_activations"),
    *("use_bias", "preBias", "use_b_dec", "tied", "tied_weights", "skip", "skip_connection", "affine_connection"),
    *("act_fn", "activation", "activation_fn", "activation_fn_kwargs", "postact_fn", "hidden_act", "use_glu_encoder"),
    *("jump_relu_threshold", "gated", "threshold", "k", "top_k", "topk", "topK", "clamp", "clip_codes", "signed"),
]
TELLING = [
    *("lr", "steps", "seed", "dataset_name", "wandb_name", "save_dir", "checkpoint_path", "expansion_factor", "d_sae"),
    *(
        "decoder_init_norm",
        "bias_init_method",
        "k_warmup_steps",
        "k_annealing_steps",
        "use_batch_norm_mse",
        "top_k_aux",
    ),
    *(
        "auxk_alpha",
        "clip_grad_norm",
        "dead_feature_threshold",
        "threshold_start_step",
        "topk_threshold_lr",
        "kl_weight",
    ),
    *("scale_sparsity_penalty_by_decoder_norm", "activation_dim", "activations_path", "transformer_lens_version"),
    *("model_name", "hook_layer", "group_sizes", "dtype", "device", "n_ctxs", "ctx_len", "l1_coefficient", "meaning"),
]


@pytest.mark.parametrize("name", DECIDING)
def test_names_that_decide_stay_open(name):
    ledger = Ledger({name: "something"}, "config.json")
    ledger.describes()
    with pytest.raises(FormatError, match=name):
        ledger.close()


@pytest.mark.parametrize("name", TELLING)
def test_names_that_tell_are_closed(name):
    ledger = Ledger({name: "something"}, "config.json")
    ledger.describes()
    ledger.close()


def test_what_a_reader_took_or_knows_is_closed_and_mappings_inside_are_searched():
    items = {"top_k": 3, "norm": 1, "run": {"layers": [{"skip": True, "name": "a"}], "bias": 1}, "known": {"scale": 2}}
    ledger = Ledger(items, "config.json")
    ledger.describes("known", "norm*", "bias")
    ledger.take("top_k")
    with pytest.raises(FormatError, match=r"unknown run\.layers\.0\.skip\n"):
        ledger.close()


def test_a_tensor_that_is_not_zero_is_not_off():
    ledger = Ledger({"scale": torch.ones(3), "shift": torch.zeros(3)}, "8.pt")
    ledger.describes()
    with pytest.raises(FormatError, match=r"unknown scale\n"):
        ledger.close()


_TRAINER = {
    "lr": 1e-4,
    "steps": 100,
    "auxk_alpha": 0.03,
    "warmup_steps": 10,
    "decay_start": 80,
    "threshold_beta": 0.999,
}
_TRAINER |= {"threshold_start_step": 50, "top_k_aux": 3, "seed": 0, "activation_dim": 6, "dict_size": 10, "k": 3}
_TRAINER |= {"device": "cuda:0", "layer": 1, "lm_name": "a-model", "wandb_name": "w", "l1_penalty": 0.1, "p_start": 1}
_TRAINER |= {"resample_steps": 10, "sparsity_warmup_steps": 5, "bandwidth": 0.001, "sparsity_penalty": 1.0}
_TRAINER |= {"target_l0": 20, "group_fractions": [0.5, 0.5], "group_weights": [0.5, 0.5], "group_sizes": [5, 5]}
_BUFFER = {"d_submodule": 6, "io": "out", "n_ctxs": 10, "ctx_len": 128, "refresh_batch_size": 8, "out_batch_size": 64}
_CODES = {"code_normalization": "SAE", "code_normalization_alpha_sae": 1.0, "code_normalization_alpha_cc": 0.1}
_MIXIN = {
    "activation_dim": 5,
    "dict_size": 12,
    "num_layers": 2,
    "same_init_for_all_layers": True,
    "norm_init_scale": 1.0,
}
_MIXIN |= {"init_with_transpose": True, "encoder_layers": None, "latent_processor": None, "num_decoder_layers": None}
_MIXIN |= {"k": 3, "target_rms": 1.0, "keep_relative_variance": True, "dict_class": "BatchTopKCrossCoder", **_CODES}
_KWARGS = {"activation_mean": "tensor([[0.1]])", "activation_std": "tensor([[1.]])", "target_rms": "1.0"}
_MOSS = {"d_model": 6, "expansion_factor": 2.0, "use_decoder_bias": True, "sparsity_include_decoder_norm": True}
_MOSS |= {"top_k": 50, "use_triton_kernel": False, "sparsity_threshold_for_triton_spmm_kernel": 0.996}
_MOSS |= {"jumprelu_threshold_window": 2.0, "use_glu_encoder": False, "promote_act_fn_dtype": "torch.float32"}
_MOSS |= {"force_unit_decoder_norm": True, "apply_decoder_bias_to_pre_encoder": False, "jump_relu_threshold": 0.0}
_MOSS |= {"circuit_tracing_mode": False, "sae_pretrained_name_or_path": None, "strict_loading": True}
_LLAMA_SCOPE = {"device": "cuda:0", "seed": 42, "dtype": "torch.bfloat16", "use_decoder_bias": True, "lp": 1}
_LLAMA_SCOPE |= {"apply_decoder_bias_to_pre_encoder": False, "expansion_factor": 8, "d_model": 6, "d_sae": 10}
_LLAMA_SCOPE |= {"bias_init_method": "all_zero", "norm_activation": "dataset-wise", "decoder_exactly_fixed_norm": False}
_LLAMA_SCOPE |= {"sparsity_include_decoder_norm": True, "use_glu_encoder": False, "init_decoder_norm": 0.5}
_LLAMA_SCOPE |= {"init_encoder_norm": None, "init_encoder_with_decoder_transpose": True, "l1_coefficient": 8e-05}
_LLAMA_SCOPE |= {"l1_coefficient_warmup_steps": 78125, "top_k": 50, "k_warmup_steps": 78125, "use_batch_norm_mse": True}
_LLAMA_SCOPE |= {"use_ghost_grads": False, "tp_size": 1, "ddp_size": 1}
_REPLICATION = {"seed": 51, "batch_size": 2048, "buffer_mult": 512, "lr": 2e-5, "num_tokens": 10, "l1_coeff": 2}
_REPLICATION |= {
    "beta1": 0.9,
    "beta2": 0.999,
    "dict_size": 10,
    "seq_len": 1024,
    "enc_dtype": "fp32",
    "site": "resid_pre",
}
_REPLICATION |= {
    "device": "cuda:0",
    "model_batch_size": 32,
    "log_every": 100,
    "save_every": 100,
    "dec_init_norm": 0.005,
}
_LAB = {"epochs": 50, "batch_size": 64, "learning_rate": 1e-3, "l1_coefficient": 1e-3, "validation_fraction": 0.1}
_LAB |= {"dead_latent_threshold": 1e-6, "seed": 0}
_SAELENS = {"context_size": 128, "seqpos_slice": [None], "dataset_path": "a/b", "model_class_name": "HookedTransformer"}
_SAELENS |= {"exclude_special_tokens": False, "sequence_separator_token": "bos", "disable_concat_sequences": False}
_SAELENS |= {"l0": 12.5, "num_dead_features": 3, "hook_layer": 1, "neuronpedia_id": None}
WRITTEN = [
    ("dictionary_learning", "config.json", ("trainer",), {**_TRAINER, "norm_factor": 17.5}),
    ("dictionary_learning", "config.json", ("buffer",), {**_BUFFER, "device": "cuda"}),
    ("crosscoder_learning", "config.json", (), _MIXIN),
    ("crosscoder_learning", "config.json", ("buffer",), _BUFFER),
    ("crosscoder_learning", "config.json", ("trainer",), {**_TRAINER, **_CODES, "k_target": 3, "k_initial": 9}),
    ("crosscoder_learning", "config.json", ("trainer",), {"use_mse_loss": True, "dict_class_kwargs": _KWARGS}),
    ("crosscoder_replication", "cfg.json", (), _REPLICATION),
    ("gemma_scope_2", "config.json", (), {"width": 10, "l0": 9, "affine_connection": True, "type": "transcoder"}),
    ("llama_scope", "hyperparams.json", (), _LLAMA_SCOPE),
    ("llamascopium", "config.json", (), _MOSS),
    ("circuit_tracer", "config.yaml", (), {"scan": "a/b@main", "repo_id": "a/b", "revision": None, "subfolder": None}),
    ("circuit_tracer", "config.yaml", (), {"transcoders": [{"id": "a", "layer": 0, "filepath": "hf://a/b/c"}]}),
    ("saelens", "cfg.json", ("metadata",), _SAELENS),
    ("interp_lab", "sae.json", ("config",), _LAB),
]


@pytest.mark.parametrize(("format", "name", "inside", "keys"), WRITTEN)
def test_what_the_libraries_write_is_read(format, name, inside, keys, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    plain, _ = imported(format, tmp_path / "a", name)
    other, _ = imported(format, tmp_path / "b", name, inside, **keys)
    assert other.hash == plain.hash


@pytest.mark.parametrize(
    ("format", "name", "keys", "what"),
    [
        ("llama_scope", "hyperparams.json", {"apply_decoder_bias_to_pre_encoder": True}, "apply_decoder_bias_to_pre"),
        ("llama_scope", "hyperparams.json", {"act_fn": "topk", "top_k": 3}, "jump_relu_threshold"),
        (
            "llama_scope",
            "hyperparams.json",
            {"act_fn": "topk", "top_k": 3, "jump_relu_threshold": 0.0, "sparsity_include_decoder_norm": True},
            "sparsity_include_decoder_norm",
        ),
        ("llamascopium", "config.json", {"apply_decoder_bias_to_pre_encoder": True}, "apply_decoder_bias_to_pre"),
        ("llamascopium", "config.json", {"jump_relu_threshold": 0.5}, "jump_relu_threshold"),
        ("crosscoder_learning", "config.json", {"code_normalization": "CROSSCODER"}, "code_normalization"),
        ("crosscoder_learning", "config.json", {"encoder_layers": [1, 0]}, "encoder_layers"),
    ],
)
def test_known_keys_that_would_change_the_function_are_refused(format, name, keys, what, tmp_path):
    with pytest.raises(FormatError, match=what):
        imported(format, tmp_path, name, **keys)
