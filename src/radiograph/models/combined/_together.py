"""Views of a shared network with two adapters on, or with factors that were made of them.

1. `together`: both are on, each with its own scale; what they add is the sum of their changes
2. `in_place`: factors are put beside the adapters' own under a name of theirs, are on inside the context, and are gone
   after it. The base weights are never touched
Only LoRA of plain factors: where an adapter also replaces or rescales base weights, two have no agreed sum.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from radiograph.core import Refusal
from radiograph.core.shapes import Float
from radiograph.models._model import LanguageModel
from radiograph.models._refs import adapter_config
from radiograph.models.delta._adapter import is_plain

if TYPE_CHECKING:
    import numpy as np

MERGED = "merged"
Pieces = tuple["np.ndarray", "np.ndarray", float]
"""B, A and scale of one module: ΔW = scale·B·A."""


def check_plain(folder: Path, name: str) -> dict[str, Any]:
    """The configuration of an adapter that may be put together with another.

    Raises:
        Refusal: `not_combinable`. UserError: no adapter there.
    """
    config = adapter_config(folder)
    kind = str(config.get("peft_type", "?"))
    also = [key for key in ("modules_to_save", "use_dora", "trainable_token_indices") if config.get(key)]
    bias = str(config.get("bias") or "none")
    if also or bias != "none" or not is_plain(config, []):
        words = ", ".join([kind, *also, *([f"bias={bias}"] if bias != "none" else [])])
        raise Refusal(
            "not_combinable",
            f"adapter {name!r} is more than plain factors, so two of its kind have no agreed sum",
            expected="LoRA without DoRA, biases and saved modules",
            got=words,
        )
    return config


def together(first: LanguageModel, second: LanguageModel) -> LanguageModel:
    """A view of the network of two views with the adapters of both on.

    Raises:
        Refusal: they do not share a network (`not_combinable`).
    """
    if first.model is not second.model or first.switch is None or not (first.adapter_name and second.adapter_name):
        raise Refusal("not_combinable", f"{first.ref} and {second.ref} do not share the base's weights")
    name = f"{first.adapter_name}+{second.adapter_name}"
    first.switch.join(name, [first.adapter_name, second.adapter_name])
    return replace(first, adapter_name=name)


def factors(model: LanguageModel) -> dict[str, Pieces]:
    """What a view's adapter adds, module by module, as float32 arrays."""
    found: dict[str, Pieces] = {}
    for place, layer in _layers(model):
        sides = _sides(layer, str(model.adapter_name))
        if sides is not None:
            b, a = (side.detach().float().cpu().numpy() for side in sides)
            found[place] = (b, a, float(layer.scaling[model.adapter_name]))
    return found


@contextmanager
def in_place(model: LanguageModel, made: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> Iterator[LanguageModel]:
    """A view with B and A of some modules on, and no other adapter."""
    assert model.switch is not None, "a view of an adapter has a switch"
    before = model.switch.active
    try:
        for place, layer in _layers(model):
            if place in made:
                _put(layer, *made[place])
        # Which names are on is compared by name alone: a merge made before had the same one.
        model.switch.set(None)
        yield replace(model, adapter_name=MERGED)
    finally:
        # A layer from which the adapter in use is taken rewrites `requires_grad` flags: none of it may be in use.
        model.switch.set(model.adapter_name)
        model.switch.set(before)
        for _, layer in _layers(model):
            layer.delete_adapter(MERGED)


def probe_logits(model: LanguageModel) -> Float[Tensor, "1 position vocabulary"]:
    """Logits of a few fixed tokens: bit-equal before and after, or the base was touched."""
    count = min(8, model.context_length)
    ids = torch.arange(count, device=model.device)[None] * 37 % model.vocab_size
    with torch.inference_mode(), model.session() as network:
        return network(input_ids=ids, use_cache=False).logits


def _layers(model: LanguageModel) -> list[tuple[str, Any]]:
    from peft.tuners.lora import LoraLayer

    modules: Any = model.model.named_modules()
    return [(place, module) for place, module in modules if isinstance(module, LoraLayer)]


def _sides(layer: Any, name: str) -> tuple[Tensor, Tensor] | None:
    """B [output, rank] and A [rank, input] of a layer."""
    if name in layer.lora_A:
        return layer.lora_B[name].weight, layer.lora_A[name].weight
    if name in layer.lora_embedding_A:
        return layer.lora_embedding_B[name], layer.lora_embedding_A[name]
    return None


def _put(layer: Any, b: np.ndarray, a: np.ndarray) -> None:
    """A further adapter in one layer, with a scale of 1."""
    rank = a.shape[0]
    embedding = len(layer.lora_embedding_A) > 0
    like = next(iter(layer.lora_embedding_A.values())) if embedding else next(iter(layer.lora_A.values())).weight
    sides = [torch.tensor(x, dtype=like.dtype, device=like.device) for x in (a, b)]
    if embedding:
        layer.lora_embedding_A[MERGED], layer.lora_embedding_B[MERGED] = (
            torch.nn.Parameter(side, requires_grad=False) for side in sides
        )
    else:
        for home, side in zip((layer.lora_A, layer.lora_B), sides, strict=True):
            linear = torch.nn.Linear(side.shape[1], side.shape[0], bias=False, device="meta")
            linear.weight = torch.nn.Parameter(side, requires_grad=False)
            home[MERGED] = linear
    layer.lora_dropout[MERGED] = torch.nn.Identity()
    layer.r[MERGED], layer.lora_alpha[MERGED], layer.scaling[MERGED] = rank, rank, 1.0
    layer.use_dora[MERGED], layer.use_rslora[MERGED], layer.lora_bias[MERGED] = False, False, False
