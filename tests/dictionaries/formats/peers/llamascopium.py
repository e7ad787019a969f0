"""Run by an environment that has llamascopium, never by ours; see saelens.py for the commands."""

import importlib.util
import sys
import types
import warnings
from pathlib import Path

import torch
from safetensors.torch import save_file

warnings.filterwarnings("ignore")
# The package imports servers and databases at its top; its models need none of them.
package = types.ModuleType("llamascopium")
package.__path__ = list(importlib.util.find_spec("llamascopium").submodule_search_locations)
sys.modules["llamascopium"] = package
from llamascopium.models import sparse_dictionary  # noqa: E402
from llamascopium.models.crosscoder import Crosscoder, CrosscoderConfig  # noqa: E402
from llamascopium.models.sae import SAEConfig, SparseAutoEncoder  # noqa: E402

sparse_dictionary.version = lambda name: "a checkout"

WIDTH, SIZE, ROWS = 6, 12, 24
POST, MID, OUT = "blocks.1.hook_resid_post", "blocks.1.hook_resid_mid", "blocks.1.hook_mlp_out"
PLAIN = {"norm_activation": "inference", "sparsity_include_decoder_norm": False}
CASES = {
    "relu": {},
    "relu-token-wise": {"norm_activation": "token-wise"},
    "relu-no-bias": {**PLAIN, "use_decoder_bias": False},
    "topk": {"act_fn": "topk", "top_k": 3},
    "topk-plain": {"act_fn": "topk", "top_k": 3, **PLAIN},
    "jumprelu": {"act_fn": "jumprelu"},
    "jumprelu-plain": {"act_fn": "jumprelu", **PLAIN},
    "jumprelu-folded": {"act_fn": "jumprelu", "fold": True},
    "transcoder": {"act_fn": "jumprelu", "hook_point_in": MID, "hook_point_out": OUT},
    "transcoder-folded": {"hook_point_in": MID, "hook_point_out": OUT, "fold": True},
    "crosscoder": {"hook_points": [POST, MID, OUT]},
    "crosscoder-inference": {"hook_points": [POST, MID], "norm_activation": "inference"},
    "square": {"expansion_factor": 1.0, **PLAIN},
}


@torch.no_grad()
def write(folder):
    expected = {}
    for number, (case, stated) in enumerate(CASES.items()):
        torch.manual_seed(number)
        options = {
            "d_model": WIDTH,
            "expansion_factor": SIZE / WIDTH,
            "dtype": torch.float32,
            "device": "cpu",
            **stated,
        }
        fold = options.pop("fold", False)
        if "hook_points" in options:
            coder = Crosscoder(CrosscoderConfig(**options))
        else:
            coder = SparseAutoEncoder(SAEConfig(**{"hook_point_in": POST, "hook_point_out": POST, **options}))
        for parameter in coder.parameters():
            parameter.copy_(torch.randn(parameter.shape) * (1 if parameter.ndim > 1 else 0.3))
        hooks = dict.fromkeys(coder.cfg.associated_hook_points)
        if coder.cfg.norm_activation == "dataset-wise":
            coder.set_dataset_average_activation_norm({hook: 3.0 + i for i, hook in enumerate(hooks)})
        coder.save_pretrained(folder / case, fold_activation_scale=fold)
        coder.cfg.save_hyperparameters(folder / case)
        for name, tensor in said(coder).items():
            expected[f"{case}/{name}"] = tensor.clone().contiguous()
    save_file(expected, folder / "expected.safetensors")


def said(coder):
    cross = isinstance(coder, Crosscoder)
    rows = {hook: torch.randn(ROWS, WIDTH) * 2 + 0.5 for hook in coder.cfg.hooks_in}
    normal, scales = coder.normalize_activations(
        {hook: rows.get(hook, torch.ones(ROWS, WIDTH)) for hook in coder.cfg.associated_hook_points},
        return_scale_factor=True,
    )
    read_at, written = coder.cfg.hooks_in, coder.cfg.hooks_out
    codes = coder.encode(torch.stack([normal[h] for h in read_at], 1) if cross else normal[read_at[0]])
    out = coder.decode(codes)
    parts = out.unbind(1) if cross else [out]
    plain = coder.denormalize_activations(dict(zip(written, parts, strict=True)), scales)
    found = {"rows": torch.cat([rows[h] for h in read_at], 1), "output": torch.cat([plain[h] for h in written], 1)}
    if cross:
        return found | {"codes": codes[:, 0], "norms": coder.decoder_norm().mean(0)}
    scale = scales[written[0]] if scales[written[0]].ndim == 0 else torch.ones(())
    return found | {"codes": codes, "norms": coder.decoder_norm() / scale}


write(Path(sys.argv[2]))
