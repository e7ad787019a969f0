"""One row per architecture: which module computes what. Plain data, no torch.

A row says where each site of a block is read, as module paths inside the block, and where each weight lives. Fused
matrices name the part of the output dimension they hold (see `_weights`). An architecture that is not in the table
still loads and generates; only its sites and weight addresses are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any


@dataclass(frozen=True, slots=True)
class Fused:
    """Part of a matrix that holds several: `q`, `k`, `v` of a joint projection, `gate`, `up` of a joint MLP input.

    `interleaved`: the parts alternate head by head (GPT-NeoX) and are not stacked one after the other.
    """

    module: str
    parts: tuple[str, ...]
    interleaved: bool = False


@dataclass(frozen=True, slots=True)
class Family:
    """Module paths of one architecture, relative to the block unless said.

    Attributes:
        backbone: path of the model under the head; `blocks`, `embed`, `final_norm` are relative to it.
        z: module whose input is `attn_z`. attn_out: module whose output is added to the residual stream.
        mid: module whose input is `resid_mid`, or None where that sum does not exist.
        mlp: module whose input is `mlp_in`. hidden: whose input is `mlp_hidden`. mlp_out: whose output is added.
        weights: module per weight kind, or the fused matrix that holds it.
        transposed: matrices are stored [in, out] (GPT-2's Conv1D).
    """

    blocks: str = "layers"
    backbone: str = "model"
    embed: str = "embed_tokens"
    final_norm: str = "norm"
    z: str = "self_attn.o_proj"
    attn_out: str = "self_attn.o_proj"
    mid: str | None = "post_attention_layernorm"
    mlp: str = "mlp"
    hidden: str = "mlp.down_proj"
    mlp_out: str = "mlp"
    weights: Mapping[str, str | Fused] = field(default_factory=lambda: dict(_LLAMA_WEIGHTS))
    transposed: bool = False


_ATTENTION = {"q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj"}
_LLAMA_WEIGHTS: dict[str, str | Fused] = {
    **_ATTENTION,
    "o": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}


def _fused(module: str, *parts: str, interleaved: bool = False) -> dict[str, str | Fused]:
    return {part: Fused(module, parts, interleaved) for part in parts}


_LLAMA = Family()
_GEMMA = replace(
    _LLAMA,
    attn_out="post_attention_layernorm",
    mid="pre_feedforward_layernorm",
    mlp_out="post_feedforward_layernorm",
)
_GPT2 = Family(
    backbone="transformer",
    blocks="h",
    embed="wte",
    final_norm="ln_f",
    z="attn.c_proj",
    attn_out="attn.c_proj",
    mid="ln_2",
    hidden="mlp.c_proj",
    weights={**_fused("attn.c_attn", "q", "k", "v"), "o": "attn.c_proj", "up": "mlp.c_fc", "down": "mlp.c_proj"},
    transposed=True,
)
_NEOX = Family(
    backbone="gpt_neox",
    embed="embed_in",
    final_norm="final_layer_norm",
    z="attention.dense",
    attn_out="attention.dense",
    hidden="mlp.dense_4h_to_h",
    weights={
        **_fused("attention.query_key_value", "q", "k", "v", interleaved=True),
        "o": "attention.dense",
        "up": "mlp.dense_h_to_4h",
        "down": "mlp.dense_4h_to_h",
    },
)
_PHI = replace(
    _LLAMA,
    final_norm="final_layernorm",
    z="self_attn.dense",
    attn_out="self_attn.dense",
    mid=None,
    hidden="mlp.fc2",
    weights={**_ATTENTION, "o": "self_attn.dense", "up": "mlp.fc1", "down": "mlp.fc2"},
)
_PHI3 = replace(
    _LLAMA,
    weights={
        **_fused("self_attn.qkv_proj", "q", "k", "v"),
        "o": "self_attn.o_proj",
        **_fused("mlp.gate_up_proj", "gate", "up"),
        "down": "mlp.down_proj",
    },
)

FAMILIES: Mapping[str, Family] = {
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gemma2": _GEMMA,
    "gemma3_text": _GEMMA,
    "gpt2": _GPT2,
    "gpt_neox": _NEOX,
    "phi": _PHI,
    "phi3": _PHI3,
}


def family_of(config: Mapping[str, Any]) -> Family | None:
    """The row for a model's config (the dictionary of its config.json; of its text part), or None if there is none."""
    config = config.get("text_config") or config
    family = FAMILIES.get(str(config.get("model_type")))
    if family is _NEOX and config.get("use_parallel_residual", True):
        return replace(_NEOX, mid=None)
    return family
