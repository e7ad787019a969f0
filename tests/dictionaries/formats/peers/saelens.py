"""Run by an environment that has SAELens 6, never by ours: it saves dictionaries of every architecture and says what
it makes of rows, and it reads back what we wrote.

    python saelens.py write FOLDER       FOLDER/CASE/ as SAELens saves it, FOLDER/expected.safetensors
    python saelens.py write5 FOLDER      the same with configurations of version 5, which version 6 still reads
    python saelens.py read FOLDER OUT    codes and outputs of every FOLDER/CASE/ on the rows in FOLDER/rows.safetensors
"""

import json
import sys
import warnings
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

warnings.filterwarnings("ignore")
from sae_lens.registry import get_sae_class, get_sae_training_class  # noqa: E402
from sae_lens.saes.sae import SAE, SAEMetadata  # noqa: E402

WIDTH, SIZE, OUT, ROWS, SCALE = 6, 10, 4, 24, 3.0

CASES = {
    "standard": {},
    "standard-no-bias": {"apply_b_dec_to_input": False},
    "standard-layer-norm": {"normalize_activations": "layer_norm"},
    "standard-unit-rms": {"normalize_activations": "constant_norm_rescale"},
    "standard-scaled": {"normalize_activations": "expected_average_only_in"},
    "standard-square": {"d_sae": WIDTH},
    "standard-head": {"hook": "blocks.1.attn.hook_z", "meta": {"hook_head_index": 2}},
    "standard-centred": {"meta": {"model_from_pretrained_kwargs": {"center_writing_weights": True}}},
    "topk": {"k": 3},
    "topk-rescaled": {"k": 3, "rescale_acts_by_decoder_norm": True},
    "topk-scaled": {"k": 3, "normalize_activations": "expected_average_only_in"},
    "topk-layer-norm-no-bias": {"k": 3, "normalize_activations": "layer_norm", "apply_b_dec_to_input": False},
    "abstopk": {"k": 3},
    "abstopk-rescaled": {"k": 3, "rescale_acts_by_decoder_norm": True},
    "jumprelu": {},
    "jumprelu-no-bias": {"apply_b_dec_to_input": False},
    "jumprelu-scaled": {"normalize_activations": "expected_average_only_in"},
    "gated": {},
    "gated-unit-rms-no-bias": {"normalize_activations": "constant_norm_rescale", "apply_b_dec_to_input": False},
    "gated-scaled": {"normalize_activations": "expected_average_only_in"},
    "matching_pursuit": {"residual_threshold": 0.3, "max_iterations": 5},
    "matching_pursuit-no-bias": {"apply_b_dec_to_input": False, "residual_threshold": 0.0},
    "matching_pursuit-scaled": {"normalize_activations": "expected_average_only_in", "residual_threshold": 2.0},
    "transcoder": {"transcodes": True},
    "transcoder-layer-norm": {"transcodes": True, "normalize_activations": "layer_norm"},
    "skip_transcoder": {"transcodes": True},
    "jumprelu_transcoder": {"transcodes": True},
    "jumprelu_skip_transcoder": {"transcodes": True},
    "checkpoint-standard": {},
    "checkpoint-topk": {"k": 3},
    "checkpoint-topk-rescaled": {"k": 3, "rescale_acts_by_decoder_norm": True},
    "checkpoint-gated": {},
    "checkpoint-jumprelu": {},
    "checkpoint-batchtopk": {"k": 3, "rescale_acts_by_decoder_norm": False},
    "checkpoint-batchtopk-rescaled": {"k": 3, "rescale_acts_by_decoder_norm": True},
    "checkpoint-matryoshka_batchtopk": {"k": 3, "matryoshka_widths": [4, SIZE]},
    "trained-batchtopk": {"k": 3},
}


def main():
    command, *rest = sys.argv[1:]
    if command == "write":
        write(Path(rest[0]))
    elif command == "write5":
        write5(Path(rest[0]))
    else:
        read(Path(rest[0]), rest[1])


def read(folder, out):
    found = {}
    for case, rows in load_file(folder / "rows.safetensors").items():
        sae = SAE.load_from_disk(folder / case)
        sae.turn_off_forward_pass_hook_z_reshaping()
        for name, tensor in said(sae, rows).items():
            found[f"{case}/{name}"] = tensor.detach().contiguous()
    save_file(found, out)


def write(folder):
    expected = {}
    for number, (case, options) in enumerate(CASES.items()):
        torch.manual_seed(number)
        for name, tensor in one(folder / case, case, dict(options)).items():
            expected[f"{case}/{name}"] = tensor.detach().contiguous()
    save_file(expected, folder / "expected.safetensors")


OLD = {
    "standard": {"hook_point": "blocks.1.hook_resid_pre", "hook_point_head_index": None, "activation_fn_str": "relu"},
    "standard-ones": {"scaling_factor": True},
    "standard-scaled": {"normalize_activations": True},
    "standard-no-version": {"sae_lens_version": None, "normalize_activations": False},
    "standard-hook-z": {"hook_name": "blocks.1.attn.hook_z"},
    "topk": {"activation_fn": "topk", "activation_fn_kwargs": {"k": 3}},
    "jumprelu": {"architecture": "jumprelu"},
    "gated": {"architecture": "gated", "apply_b_dec_to_input": False},
}


def write5(folder):
    expected = {}
    for number, (case, options) in enumerate(OLD.items()):
        torch.manual_seed(100 + number)
        architecture = case.partition("-")[0]
        extra = {"k": 3} if architecture == "topk" else {}
        sae = get_sae_class(architecture)[0](get_sae_class(architecture)[1](d_in=WIDTH, d_sae=SIZE, **extra))
        randomise(sae)
        sae.save_model(folder / case)
        config = {
            "architecture": "standard",
            "d_in": WIDTH,
            "d_sae": SIZE,
            "dtype": "torch.float32",
            "device": "cpu",
            "model_name": "gpt2-small",
            "hook_name": "blocks.1.hook_resid_post",
            "hook_layer": 1,
            "hook_head_index": None,
            "activation_fn": "relu",
            "activation_fn_kwargs": {},
            "apply_b_dec_to_input": True,
            "finetuning_scaling_factor": False,
            "sae_lens_training_version": None,
            "sae_lens_version": "5.10.3",
            "prepend_bos": True,
            "dataset_path": "a/b",
            "dataset_trust_remote_code": True,
            "context_size": 128,
            "normalize_activations": "none",
            "model_from_pretrained_kwargs": {},
            "neuronpedia_id": None,
            **options,
        }
        if "hook_point" in options:
            config = {k: v for k, v in config.items() if k not in ("hook_name", "hook_head_index", "activation_fn")}
        if config.pop("scaling_factor", False):
            path = folder / case / "sae_weights.safetensors"
            save_file({**load_file(path), "scaling_factor": torch.ones(SIZE)}, path)
        config = {k: v for k, v in config.items() if k != "sae_lens_version" or v is not None}
        (folder / case / "cfg.json").write_text(json.dumps(config))
        sae = SAE.load_from_disk(folder / case)
        sae.turn_off_forward_pass_hook_z_reshaping()
        for name, tensor in said(sae, torch.randn(ROWS, WIDTH) * 2 + 0.5).items():
            expected[f"{case}/{name}"] = tensor.detach().contiguous()
    save_file(expected, folder / "expected.safetensors")


def one(folder, case, options):
    first, _, rest = case.partition("-")
    training = first in ("checkpoint", "trained")
    architecture = rest.split("-")[0] if training else first
    classes = get_sae_training_class(architecture) if training else get_sae_class(architecture)
    transcodes = options.pop("transcodes", False)
    hook = options.pop("hook", "blocks.1.hook_resid_mid" if transcodes else "blocks.1.hook_resid_post")
    metadata = {"hook_name": hook, "model_name": "a-model", "prepend_bos": True, **options.pop("meta", {})}
    if transcodes:
        metadata["hook_name_out"] = "blocks.1.hook_mlp_out"
        options |= {"d_out": OUT, "apply_b_dec_to_input": False}
    config = classes[1](**{"d_in": WIDTH, "d_sae": SIZE, "metadata": SAEMetadata(**metadata), **options})
    sae = classes[0](config)
    randomise(sae)
    rows = torch.randn(ROWS, WIDTH) * 2 + 0.5
    if first == "trained":
        sae.save_inference_model(folder)
        return said(SAE.load_from_disk(folder), rows)
    sae.save_model(folder)
    if training:
        inference = folder.parent / "inference"
        sae.save_inference_model(inference)
        sae = SAE.load_from_disk(inference)
        for path in inference.iterdir():
            path.unlink()
        inference.rmdir()
    return said(sae, rows)


def randomise(sae):
    """Small enough that some features fire and some do not; decoder rows of unequal length."""
    for name, parameter in [*sae.named_parameters(), *sae.named_buffers()]:
        with torch.no_grad():
            value = torch.randn(parameter.shape) * (1 if name.startswith("W_") else 0.3)
            if "threshold" in name:
                value = torch.rand(parameter.shape) + 0.2
            parameter.copy_(value.to(parameter.dtype))


@torch.no_grad()
def said(sae, rows):
    """Codes [row, feature], what each code is multiplied by to be a length, and the output."""
    inputs = rows
    norms = sae.W_dec.norm(dim=1)
    kwargs = sae.cfg.metadata.model_from_pretrained_kwargs or {}
    if kwargs.get("center_writing_weights"):
        inputs = rows - rows.mean(1, keepdim=True)
    if sae.cfg.normalize_activations == "expected_average_only_in":
        sae.fold_activation_norm_scaling_factor(SCALE)
        norms = sae.W_dec.norm(dim=1)
    if getattr(sae.cfg, "rescale_acts_by_decoder_norm", False):
        norms = torch.ones_like(norms)
    codes = sae.encode(inputs)
    if type(sae).__name__.endswith("Transcoder"):
        output = sae(inputs)
    else:
        output = sae.decode(sae.encode(inputs))
    output = output + (rows - inputs).mean(1, keepdim=True)
    return {"rows": rows, "codes": codes, "norms": norms, "output": output}


main()
