"""Run by an environment that has circuit-tracer, never by ours; see saelens.py for the commands."""

import sys
from pathlib import Path

import torch
import yaml
from circuit_tracer.transcoder.activation_functions import JumpReLU
from circuit_tracer.transcoder.single_layer_transcoder import SingleLayerTranscoder, TranscoderSet, load_transcoder_set
from safetensors.torch import load_file, save_file

WIDTH, SIZE, ROWS = 6, 10, 24
CASES = {
    "relu": {},
    "relu-skip": {"skip": True},
    "jumprelu": {"jump": True},
    "jumprelu-skip": {"jump": True, "skip": True},
    "square": {"size": WIDTH, "skip": True},
}
HOOKS = {"feature_input_hook": "mlp.hook_in", "feature_output_hook": "hook_mlp_out"}


def write(folder):
    expected = {}
    for number, (case, options) in enumerate(CASES.items()):
        torch.manual_seed(number)
        size = options.get("size", SIZE)
        sigma = JumpReLU(torch.randn(size).abs() + 0.2) if options.get("jump") else torch.nn.functional.relu
        skip = options.get("skip", False)
        coder = SingleLayerTranscoder(WIDTH, size, sigma, 0, skip_connection=skip, dtype=torch.float32)
        for name, parameter in coder.named_parameters():
            if name != "activation_function.threshold":
                parameter.data.copy_(torch.randn(parameter.shape) * (1 if parameter.ndim > 1 else 0.3))
        TranscoderSet({0: coder}, *HOOKS.values()).to_safetensors(folder / case)
        config = {"model_name": "a-model", "model_kind": "transcoder_set", **HOOKS}
        (folder / case / "config.yaml").write_text(yaml.safe_dump(config))
        for name, tensor in said(coder, torch.randn(ROWS, WIDTH) * 2 + 0.5).items():
            expected[f"{case}/{name}"] = tensor.contiguous()
    save_file(expected, folder / "expected.safetensors")


def read(folder, out):
    found = {}
    for case, rows in load_file(folder / "rows.safetensors").items():
        (path,) = (folder / case).glob("layer_*.safetensors")
        (coder,) = load_transcoder_set({0: str(path)}, "ours", *HOOKS.values())
        for name, tensor in said(coder, rows).items():
            found[f"{case}/{name}"] = tensor.contiguous()
    save_file(found, out)


@torch.no_grad()
def said(coder, rows):
    codes = coder.encode(rows)
    return {"rows": rows, "codes": codes, "norms": coder.W_dec.norm(dim=1), "output": coder.decode(codes, rows)}


command, *rest = sys.argv[1:]
write(Path(rest[0])) if command == "write" else read(Path(rest[0]), rest[1])
