"""Run by an environment that has sparsify (eai-sparsify), never by ours; see saelens.py for the commands."""

import sys
import warnings
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

warnings.filterwarnings("ignore")
from sparsify import SparseCoder, SparseCoderConfig  # noqa: E402

WIDTH, SIZE, ROWS = 6, 12, 24
CASES = {
    "layers.1": {"k": 3},
    "layers.0": {"k": 3, "num_latents": 0, "expansion_factor": 2},
    "h.2": {"k": 4, "activation": "groupmax"},
    "layers.3": {"k": 3, "normalize_decoder": False},
    "layers.1.mlp": {"k": 3, "transcode": True},
    "layers.2.mlp": {"k": 3, "transcode": True, "skip_connection": True},
    "layers.4": {"k": 2, "num_latents": WIDTH},
}


def write(folder):
    expected = {}
    for number, (case, options) in enumerate(CASES.items()):
        torch.manual_seed(number)
        coder = SparseCoder(WIDTH, SparseCoderConfig(**{"num_latents": SIZE, **options}))
        with torch.no_grad():
            for parameter in coder.parameters():
                parameter.copy_(torch.randn(parameter.shape) * (1 if parameter.ndim > 1 else 0.3))
        rows = torch.randn(ROWS, WIDTH) * 2 + 0.5
        coder.save_to_disk(folder / case)
        for name, tensor in said(coder, rows).items():
            expected[f"{case}/{name}"] = tensor.detach().contiguous()
    save_file(expected, folder / "expected.safetensors")


def read(folder, out):
    found = {}
    for case, rows in load_file(folder / "rows.safetensors").items():
        (hook,) = (folder / case).iterdir()
        for name, tensor in said(SparseCoder.load_from_disk(hook), rows).items():
            found[f"{case}/{name}"] = tensor.detach().contiguous()
    save_file(found, out)


@torch.no_grad()
def said(coder, rows):
    values, places, *_ = coder.encode(rows)
    codes = torch.zeros(len(rows), coder.num_latents).scatter(1, places, values)
    return {"rows": rows, "codes": codes, "norms": coder.W_dec.norm(dim=1), "output": coder(rows).sae_out}


command, *rest = sys.argv[1:]
write(Path(rest[0])) if command == "write" else read(Path(rest[0]), rest[1])
