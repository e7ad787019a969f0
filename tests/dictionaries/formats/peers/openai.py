"""Run by an environment that has OpenAI's sparse_autoencoder, never by ours; see saelens.py for the commands."""

import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from sparse_autoencoder.model import Autoencoder, TopK

WIDTH, SIZE, ROWS = 6, 10, 24
CASES = {
    "mlp_post_act-relu": {},
    "resid_delta_mlp-relu": {},
    "resid_post_mlp-topk": {"activation": TopK(3), "normalize": True},
    "resid_delta_attn-topk": {"activation": TopK(3), "normalize": True},
    "resid_post_attn-topk-square": {"activation": TopK(2), "normalize": True, "n_latents": WIDTH},
}


@torch.no_grad()
def write(folder):
    expected = {}
    for number, (case, options) in enumerate(CASES.items()):
        torch.manual_seed(number)
        coder = Autoencoder(**{"n_latents": SIZE, "n_inputs": WIDTH, **options})
        for parameter in coder.parameters():
            parameter.copy_(torch.randn(parameter.shape) * (1 if parameter.ndim > 1 else 0.3))
        (folder / case).mkdir(parents=True)
        torch.save(coder.state_dict(), folder / case / "1.pt")
        rows = torch.randn(ROWS, WIDTH) * 2 + 0.5
        codes, info = coder.encode(rows)
        norms = coder.decoder.weight.norm(dim=0)
        said = {"rows": rows, "codes": codes, "norms": norms, "output": coder.decode(codes, info)}
        expected |= {f"{case}/{name}": tensor.contiguous() for name, tensor in said.items()}
    save_file(expected, folder / "expected.safetensors")


write(Path(sys.argv[2]))
