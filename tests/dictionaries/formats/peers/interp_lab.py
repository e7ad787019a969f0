"""Run by an environment that has interp-lab, never by ours: `write FOLDER` trains small dictionaries with it."""

import json
import sys
from pathlib import Path

import torch
from oracle_sae.sae_training import encode_with_artifact
from safetensors.torch import save_file

WIDTH, SIZE, ROWS = 5, 8, 24
CASES = {
    "relu-l1": {"sparsity": "relu-l1"},
    "topk": {"sparsity": "topk", "top_k": 3},
    "jumprelu": {"sparsity": "jumprelu", "jump_threshold": 0.4},
}


def write(folder):
    expected = {}
    for number, (case, config) in enumerate(CASES.items()):
        torch.manual_seed(number)
        rows = torch.randn(ROWS, WIDTH) * 2 + 0.5
        artifact = {
            "format": "interp-lab.sae.v1",
            "model": "a-model",
            "source": {},
            "layer": 2,
            "input_dim": WIDTH,
            "latent_dim": SIZE,
            "source_feature_ids": [f"L2:D{i}" for i in range(WIDTH)],
            "mean": rows.mean(0).tolist(),
            "encoder_weight": torch.randn(SIZE, WIDTH).tolist(),
            "encoder_bias": (0.3 * torch.randn(SIZE)).tolist(),
            "decoder_weight": torch.randn(SIZE, WIDTH).tolist(),
            "method": "torch",
            "metrics": {"loss": 0.5},
            "config": {"sparsity": "relu-l1", "top_k": None, "jump_threshold": 0.0, "epochs": 3, **config},
        }
        (folder / case).mkdir(parents=True)
        (folder / case / "sae.json").write_text(json.dumps(artifact))
        codes = torch.tensor(encode_with_artifact(rows.tolist(), artifact))
        decoder = torch.tensor(artifact["decoder_weight"])
        output = codes @ decoder + torch.tensor(artifact["mean"])
        said = {"rows": rows, "codes": codes, "norms": decoder.norm(dim=1), "output": output}
        expected |= {f"{case}/{name}": tensor.contiguous() for name, tensor in said.items()}
    save_file(expected, folder / "expected.safetensors")


write(Path(sys.argv[2]))
