"""Low-rank additions as a PEFT adapter: what any tool that reads LoRA can load.

1. addresses of one module are joined: their directions stand side by side, and parts of a fused matrix are padded with
   zeros in the outputs of the others   2. lora_alpha = r in every module (`rank_pattern`, `alpha_pattern`), so that the
   scale is 1 and the factors are the addition itself   3. no bias; `fan_in_fan_out` where layers store W transposed;
   embeddings by PEFT's embedding factors
Refuses: nothing to write, a weight that no LoRA reaches (an inserted identity).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from radiograph.core import UserError
from radiograph.evidence import pretty_json
from radiograph.models.lowrank import Additions, Factors, stored_rows
from radiograph.models.masked import Target


def joined(*several: Additions) -> dict[str, Factors]:
    """The sum of additions: directions of one address stand side by side."""
    found: dict[str, list[Factors]] = {}
    for additions in several:
        for address, factors in additions.items():
            found.setdefault(address, []).append(factors)
    return {
        address: Factors(torch.cat([f.reads for f in own], dim=1), torch.cat([f.writes for f in own]))
        for address, own in found.items()
    }


def without_zeros(additions: Additions) -> dict[str, Factors]:
    """The same addition without directions that add nothing."""
    kept: dict[str, Factors] = {}
    for address, factors in additions.items():
        live = (factors.writes != 0).any(dim=1) & (factors.reads != 0).any(dim=0)
        if bool(live.any()):
            kept[address] = Factors(factors.reads[:, live], factors.writes[live])
    return kept


def write_adapter(folder: Path, target: Target, additions: Additions, base: str) -> int:
    """Write `adapter_config.json` and `adapter_model.safetensors` into a folder; returns the number of directions.

    Raises:
        UserError: nothing is added, or an inserted identity.
    """
    additions = without_zeros(additions)
    if not additions:
        raise UserError(
            "an adapter that adds nothing cannot be written", fix=f"the model without an adapter is the same: {base}"
        )
    modules = _modules(target, additions)
    tensors: dict[str, Tensor] = {}
    for path, (kind, factors) in modules.items():
        name = f"base_model.model.{path}"
        a, b = factors.reads.T.float().contiguous(), factors.writes.T.float().contiguous()
        embedding = kind == "lookup"
        tensors[f"{name}.lora_embedding_A" if embedding else f"{name}.lora_A.weight"] = a
        tensors[f"{name}.lora_embedding_B" if embedding else f"{name}.lora_B.weight"] = b
    ranks = {path: factors.size for path, (_, factors) in modules.items()}
    transposed = any(target.place(address).transposed for address in additions)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    (folder / "adapter_config.json").write_text(pretty_json(_config(ranks, base, transposed)), encoding="utf-8")
    return sum(ranks.values())


def _modules(target: Target, additions: Additions) -> dict[str, tuple[str, Factors]]:
    """Module path to how it multiplies and its whole addition."""
    found: dict[str, tuple[str, Factors]] = {}
    for address, factors in additions.items():
        place = target.place(address)
        if place.kind == "identity":
            raise UserError(
                f"{address} stands in front of a module: no adapter holds it",
                fix="edit the weight behind it, or keep the edit in our own forward",
                code="not_exportable",
            )
        own = Factors(factors.reads, stored_rows(target, address, factors))
        before = found.get(place.module)
        found[place.module] = (place.kind, own if before is None else joined({"": before[1]}, {"": own})[""])
    return found


def _config(ranks: Mapping[str, int], base: str, transposed: bool) -> dict[str, Any]:
    largest = max(ranks.values())
    others = {path: rank for path, rank in ranks.items() if rank != largest}
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": largest,
        "lora_alpha": largest,
        "rank_pattern": others,
        "alpha_pattern": others,
        "target_modules": sorted(ranks),
        "bias": "none",
        "lora_dropout": 0.0,
        "fan_in_fan_out": transposed,
        "inference_mode": True,
        "init_lora_weights": True,
        "modules_to_save": None,
        "use_dora": False,
        "use_rslora": False,
    }
