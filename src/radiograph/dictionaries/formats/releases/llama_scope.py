"""Llama Scope: `hyperparams.json` and `checkpoints/final.safetensors`.

    encoder.weight [F, d]   encoder.bias [F]   decoder.weight [d, F]   decoder.bias [d]

1. rows were multiplied by a_s = √d / `dataset_average_activation_norm.in`, what is written by a_t from `.out`; no c
2. `act_fn` jumprelu: `jump_relu_threshold` is one number in units of plain rows, so θ = it · a_s, and compares what is
encoded, whatever `sparsity_include_decoder_norm` says; topk: `top_k`, and refused where that key has it select by what
is written, or where a threshold stands beside it
3. sites from `hook_point_in` and `hook_point_out`
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import torch

from radiograph.core import FormatError
from radiograph.dictionaries.formats import Imported, Options, Source, build

NAME: Final = "llama_scope"
CONFIG, WEIGHTS = "hyperparams.json", "checkpoints/final.safetensors"
# Said by the tensors; how the decoder was held in training; the k of jumprelu files that were trained as topk.
_KNOWN: Final = ("use_decoder_bias", "decoder_exactly_*_norm", "top_k")


def detect(source: Source) -> bool:
    """Both files."""
    return bool(_folders(source))


def _folders(source: Source) -> list[str]:
    found = [name.removesuffix(CONFIG) for name in source.names if name.split("/")[-1] == CONFIG]
    return [prefix for prefix in found if prefix + WEIGHTS in source]


def read(source: Source, options: Options) -> Iterator[Imported]:
    """One dictionary a folder."""
    for prefix in _folders(source) or [""]:
        yield _one(source, prefix, options)


def _one(source: Source, prefix: str, options: Options) -> Imported:
    config, tensors = source.document(prefix + CONFIG), source.tensors(prefix + WEIGHTS)
    config.expect("use_glu_encoder", False)
    config.expect("apply_decoder_bias_to_pre_encoder", False)
    config.expect("norm_activation", "dataset-wise")
    hooks = [str(config.take(f"hook_point_{side}")) for side in ("in", "out")]
    encoder = tensors.tensor("encoder.weight", (None, None))
    size, width = encoder.shape
    norms = config.part("dataset_average_activation_norm")
    scales = [width**0.5 / norms.number(side) for side in ("in", "out")]
    if not min(scales) > 0:
        raise FormatError("an average norm is not above 0", where=norms.where)
    same: dict[str, Any] = {
        "encoder": encoder,
        "decoder": tensors.tensor("decoder.weight", (None, size)).T,
        "encoder_bias": tensors.tensor("encoder.bias", (size,)),
        "decoder_bias": tensors.tensor("decoder.bias") if "decoder.bias" in tensors else None,
        "sites": (options.placed(hooks[0], config.where),),
        "target": options.placed(hooks[1], config.where, of="target") if hooks[1] != hooks[0] else None,
    }
    kind = str(config.take("act_fn", "jumprelu")).lower()
    config.describes(*_KNOWN, *(() if kind == "topk" else ("sparsity_include_decoder_norm",)))
    if kind == "jumprelu":
        threshold = torch.full((size,), config.number("jump_relu_threshold") * scales[0])
        dictionary = build("jumprelu", parameters={"threshold": threshold}, **same)
    elif kind == "topk":
        dictionary = build("topk", {"k": config.integer("top_k")}, **same)
    elif kind == "relu":
        dictionary = build("relu", **same)
    else:
        raise FormatError(f"act_fn {kind!r}", where=config.where, expected="jumprelu, topk or relu")
    written = tuple(scales[1:]) if dictionary.target is not None or scales[0] != scales[1] else ()
    return Imported(dictionary, name=prefix.rstrip("/"), input_scales=(scales[0],), target_scales=written)
