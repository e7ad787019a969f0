"""Run by an environment that has dictionary-learning, never by ours; see saelens.py for the commands."""

import json
import sys
import warnings
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

warnings.filterwarnings("ignore")
from dictionary_learning.dictionary import (  # noqa: E402
    AutoEncoder,
    AutoEncoderNew,
    GatedAutoEncoder,
    JumpReluAutoEncoder,
)
from dictionary_learning.trainers.batch_top_k import BatchTopKSAE  # noqa: E402
from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKSAE  # noqa: E402
from dictionary_learning.trainers.top_k import AutoEncoderTopK  # noqa: E402

WIDTH, SIZE, ROWS = 6, 10, 24
MADE = {
    "AutoEncoder": lambda size: AutoEncoder(WIDTH, size),
    "AutoEncoderNew": lambda size: AutoEncoderNew(WIDTH, size),
    "GatedAutoEncoder": lambda size: GatedAutoEncoder(WIDTH, size),
    "JumpReluAutoEncoder": lambda size: JumpReluAutoEncoder(WIDTH, size),
    "AutoEncoderTopK": lambda size: AutoEncoderTopK(WIDTH, size, 3),
    "BatchTopKSAE": lambda size: BatchTopKSAE(WIDTH, size, 3),
    "MatryoshkaBatchTopKSAE": lambda size: MatryoshkaBatchTopKSAE(WIDTH, size, 3, [4, size - 4]),
}
CASES = {name: (name, SIZE) for name in MADE} | {"square": ("AutoEncoder", WIDTH)}


def write(folder):
    expected = {}
    for number, (case, (name, size)) in enumerate(CASES.items()):
        torch.manual_seed(number)
        coder = MADE[name](size)
        with torch.no_grad():
            for key, tensor in coder.state_dict().items():
                if key in ("k", "group_sizes"):
                    continue
                value = torch.randn(tensor.shape) * (1 if tensor.ndim > 1 else 0.3)
                tensor.copy_(value.abs() + 0.2 if key == "threshold" else value)
        rows = torch.randn(ROWS, WIDTH) * 2 + 0.5
        (folder / case).mkdir(parents=True)
        torch.save(coder.state_dict(), folder / case / "ae.pt")
        trainer = {"dict_class": name, "layer": 1, "lm_name": "a-model", "submodule_name": "resid_post_layer_1"}
        (folder / case / "config.json").write_text(json.dumps({"trainer": trainer, "buffer": {"d_submodule": WIDTH}}))
        for key, tensor in said(coder, rows).items():
            expected[f"{case}/{key}"] = tensor.detach().contiguous()
    save_file(expected, folder / "expected.safetensors")


def read(folder, out):
    found = {}
    for case, rows in load_file(folder / "rows.safetensors").items():
        state = torch.load(folder / case / "ae.pt", weights_only=True)
        name = json.loads((folder / case / "config.json").read_text())["trainer"]["dict_class"]
        size = len(state["encoder.weight"]) if "encoder.weight" in state else state["W_enc"].shape[1]
        coder = MADE[name](size)
        coder.load_state_dict(state)
        for key, tensor in said(coder, rows).items():
            found[f"{case}/{key}"] = tensor.detach().contiguous()
    save_file(found, out)


@torch.no_grad()
def said(coder, rows):
    codes = coder.encode(rows)
    decoder = coder.decoder.weight.T if hasattr(coder, "decoder") else coder.W_dec
    return {"rows": rows, "codes": codes, "norms": decoder.norm(dim=1), "output": coder.decode(codes)}


command, *rest = sys.argv[1:]
write(Path(rest[0])) if command == "write" else read(Path(rest[0]), rest[1])
