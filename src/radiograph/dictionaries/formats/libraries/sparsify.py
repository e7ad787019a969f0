"""EleutherAI's sparsify: a folder a hook with `cfg.json` and `sae.safetensors`.

    encoder.weight [F, d]   encoder.bias [F]   W_dec [F, d_out]   b_dec [d_out]   W_skip [d_out, d]

1. both matrices are feature-major already; nothing is turned   2. σ is topk after ReLU, or `groupmax`
3. c = b_dec unless `transcode`, whatever `normalize_decoder` says; the skip takes the plain input
4. the folder's name is the hook: `layers.5` or `h.5` is resid_post.5, a transcoder at `layers.5.mlp` reads mlp_in.5
and writes mlp_out.5. F = `num_latents`, or d · `expansion_factor` where that is 0
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import save_file
from torch import Tensor

from radiograph.core import FormatError, Site
from radiograph.dictionaries._dictionary import Dictionary
from radiograph.dictionaries.formats import (
    Imported,
    Options,
    Source,
    build,
    cannot_express,
    settings_of,
    unsettled,
)

NAME: Final = "sparsify"
CONFIG, WEIGHTS = "cfg.json", "sae.safetensors"


def detect(source: Source) -> bool:
    """Both files, side by side."""
    return bool(_folders(source))


def _folders(source: Source) -> list[str]:
    found = [name.removesuffix(WEIGHTS) for name in source.names if name.split("/")[-1] == WEIGHTS]
    return [prefix for prefix in found if prefix + CONFIG in source]


def read(source: Source, options: Options) -> Iterator[Imported]:
    """One dictionary a hook; of several, only that of `--layer` where it is given."""
    for prefix in _folders(source) or [""]:
        hook = prefix.rstrip("/").split("/")[-1] or source.trail[-1]
        if options.layer is not None and f".{options.layer}" not in f".{hook}.".replace("..", "."):
            continue
        yield _one(source, prefix, hook, options)


def _one(source: Source, prefix: str, hook: str, options: Options) -> Imported:
    config, tensors = source.document(prefix + CONFIG), source.tensors(prefix + WEIGHTS)
    config.ignore("normalize_decoder", "multi_topk", "skip_connection")
    if config.take("signed", False):
        raise unsettled(
            "signed selection keeps negative codes without a rule of ours", config.where, "train without it"
        )
    transcode = bool(config.take("transcode", False))
    width = config.integer("d_in")
    expansion, latents = config.take("expansion_factor", 0), config.take("num_latents", 0)
    size = int(latents or width * int(expansion))
    sigma = str(config.take("activation", "topk"))
    if sigma not in ("topk", "groupmax"):
        raise FormatError(f"activation {sigma!r}", where=f"{config.where}: activation", expected="topk or groupmax")
    bias = tensors.tensor("b_dec", (None,))
    out = len(bias)
    site, target = _places(hook, transcode, options, config.where)
    dictionary = build(
        sigma,
        {"k": config.integer("k")},
        encoder=tensors.tensor("encoder.weight", (size, width)),
        encoder_bias=tensors.tensor("encoder.bias", (size,)),
        decoder=tensors.tensor("W_dec", (size, out)),
        decoder_bias=bias,
        input_bias=None if transcode else bias,
        skip=tensors.tensor("W_skip", (out, width)) if "W_skip" in tensors else None,
        sites=(site,),
        target=target,
    )
    return Imported(dictionary, name=prefix.rstrip("/"))


def _places(hook: str, transcode: bool, options: Options, where: str) -> tuple[str, str | None]:
    stated = options.placed(hook if any(c.isdigit() for c in hook) else None, where)
    if not transcode:
        return stated, None
    site = Site.parse(stated)
    if site.kind == "mlp_out" and options.site is None:
        return f"mlp_in.{site.layer}", options.placed(stated, where, of="target")
    return stated, options.placed(stated if options.site is None else None, where, of="target")


def write(dictionary: Dictionary, folder: Path) -> None:
    """One hook's folder, whose name is the hook."""
    _require(dictionary)
    transcode = dictionary.kind == "transcoder"
    config = {
        "activation": dictionary.activation.name,
        "expansion_factor": 0,
        "normalize_decoder": dictionary.value_unit == "write_norm",
        "num_latents": dictionary.size,
        "k": dictionary.activation.constants["k"],
        "multi_topk": False,
        "skip_connection": dictionary.skip is not None,
        "transcode": transcode,
        "d_in": dictionary.width,
    }
    tensors: dict[str, Tensor] = {
        "encoder.weight": dictionary.encoder,
        "encoder.bias": dictionary.encoder_bias,
        "W_dec": dictionary.decoder,
        "b_dec": dictionary.decoder_bias,
    }
    if dictionary.skip is not None:
        tensors["W_skip"] = dictionary.skip
    place = folder / _hook(dictionary)
    place.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, place / WEIGHTS)
    (place / CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")


def _hook(dictionary: Dictionary) -> str:
    site = Site.parse(dictionary.site)
    if dictionary.kind == "transcoder":
        if site.kind == "mlp_in" and dictionary.target == f"mlp_out.{site.layer}":
            return f"layers.{site.layer}.mlp"
        raise cannot_express(NAME, f"a transcoder from {dictionary.site} to {dictionary.target}")
    hooks = {"resid_post": "layers.{}", "mlp_out": "layers.{}.mlp", "attn_out": "layers.{}.self_attn"}
    if site.kind not in hooks or site.head is not None:
        raise cannot_express(NAME, f"the site {dictionary.site}")
    return hooks[site.kind].format(site.layer)


def _require(dictionary: Dictionary) -> None:
    found = settings_of(dictionary)
    if found["kind"] == "crosscoder":
        raise cannot_express(NAME, "a crosscoder")
    if found["activation"] not in ("topk", "groupmax"):
        raise cannot_express(NAME, f"the activation {found['activation']}")
    if found["normalisation"] != "none":
        raise cannot_express(NAME, f"the normalisation {found['normalisation']}")
    if found["selection"] != "value":
        raise cannot_express(NAME, "selection by decoder norm", instead="fold the norms first")
    if dictionary.skip is not None and dictionary.width != dictionary.target_width:
        raise cannot_express(NAME, "a skip between sites of different widths")
    if dictionary.kind == "sae" and not torch.equal(dictionary.input_bias, dictionary.decoder_bias):
        raise cannot_express(NAME, "an input bias that is not the decoder bias")
    if dictionary.kind == "transcoder" and found["input bias"]:
        raise cannot_express(NAME, "an input bias of a transcoder", instead="move it into the encoder bias first")
