"""saprmarks/dictionary_learning: a folder with `ae.pt` and `config.json`, whose `trainer.dict_class` says what it is.

    AutoEncoder      encoder.* decoder.weight [d, F] bias (c and g)          AutoEncoderNew   decoder.bias, no c
    GatedAutoEncoder encoder.weight decoder.weight r_mag gate_bias mag_bias decoder_bias (c and g)
    JumpReluAutoEncoder   W_enc [d, F] W_dec [F, d] b_enc b_dec threshold [F], no c
    AutoEncoderTopK, BatchTopKSAE   encoder.* decoder.weight [d, F] b_dec (c and g) k threshold
    MatryoshkaBatchTopKSAE   W_enc [d, F] W_dec [F, d] b_enc b_dec (c and g) k threshold group_sizes

1. a `threshold` beside the k of AutoEncoderTopK is one that its encoder ignores: k decides
2. the batch-top-k kinds compare π with one threshold; below 0 it was never estimated, and only rows can settle it
3. a `norm_factor` in the configuration is folded into the file already
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from radiograph.core import FormatError, Site
from radiograph.dictionaries._dictionary import Dictionary
from radiograph.dictionaries.formats import (
    Imported,
    Ledger,
    Options,
    Source,
    batch_threshold,
    build,
    cannot_express,
    settings_of,
    unsettled,
    without_input_bias,
)

NAME: Final = "dictionary_learning"
CONFIG, WEIGHTS = "config.json", "ae.pt"
_SUBMODULE = re.compile(r"(resid_post|resid_pre|attn_out|mlp_out|attention_out)_layer_(\d+)")
_LINEAR: Final = ("AutoEncoder", "AutoEncoderNew", "GatedAutoEncoder", "AutoEncoderTopK", "BatchTopKSAE")
_STACKED: Final = ("JumpReluAutoEncoder", "MatryoshkaBatchTopKSAE")
CLASSES: Final = (*_LINEAR, *_STACKED)
# k is also a tensor; the threshold has a rate of its own in training; the factor is folded (3).
_KNOWN: Final = ("k", "threshold_beta", "norm_factor")


def detect(source: Source) -> bool:
    """Both files, and a class of a dictionary of one site."""
    return _class(source) in CLASSES


def _class(source: Source) -> str | None:
    if WEIGHTS not in source:
        return None
    trainer = source.peek(CONFIG).get("trainer")
    return str(trainer.get("dict_class")) if isinstance(trainer, dict) else None


def read(source: Source, options: Options) -> Iterator[Imported]:
    """The one dictionary."""
    config, tensors = source.document(CONFIG), source.tensors(WEIGHTS)
    config.describes()
    trainer = config.part("trainer")
    trainer.describes(*_KNOWN)
    kind = str(trainer.take("dict_class"))
    if kind not in CLASSES:
        raise FormatError(f"dict_class {kind!r}", where=trainer.where, expected=", ".join(CLASSES))
    site = options.placed(_stated(trainer, options), trainer.where)
    dictionary = _stacked(tensors, kind, site, options) if kind in _STACKED else _linear(tensors, kind, site, options)
    yield Imported(dictionary, model=trainer.take("lm_name", None))


def _stated(trainer: Ledger, options: Options) -> str | None:
    name = _SUBMODULE.fullmatch(str(trainer.take("submodule_name", None)))
    if name:
        return f"{name[1].replace('attention_out', 'attn_out')}.{name[2]}"
    return None if options.layer is None else f"resid_post.{options.layer}"


def _linear(tensors: Ledger, kind: str, site: str, options: Options) -> Dictionary:
    encoder = tensors.tensor("encoder.weight", (None, None))
    size, width = encoder.shape
    decoder = tensors.tensor("decoder.weight", (width, size)).T
    same: dict[str, Any] = {"encoder": encoder, "decoder": decoder, "sites": (site,)}
    if kind == "GatedAutoEncoder":
        names = {"gate_bias": "gate_bias", "magnitude_bias": "mag_bias", "magnitude_log_scale": "r_mag"}
        bias = tensors.tensor("decoder_bias", (width,))
        parameters = {ours: tensors.tensor(theirs, (size,)) for ours, theirs in names.items()}
        return build("gated", parameters=parameters, input_bias=bias, decoder_bias=bias, **same)
    same["encoder_bias"] = tensors.tensor("encoder.bias", (size,))
    if kind == "AutoEncoder":
        bias = tensors.tensor("bias", (width,))
        return build("relu", input_bias=bias, decoder_bias=bias, **same)
    if kind == "AutoEncoderNew":
        return build("relu", decoder_bias=tensors.tensor("decoder.bias", (width,)), **same)
    bias = tensors.tensor("b_dec", (width,))
    k = tensors.integer("k")
    if kind == "AutoEncoderTopK":
        tensors.ignore("threshold")
        return build("topk", {"k": k}, input_bias=bias, decoder_bias=bias, **same)
    return _thresholded(tensors, k, options, site, input_bias=bias, decoder_bias=bias, **same)


def _stacked(tensors: Ledger, kind: str, site: str, options: Options) -> Dictionary:
    encoder = tensors.tensor("W_enc", (None, None))
    width, size = encoder.shape
    bias = tensors.tensor("b_dec", (width,))
    same: dict[str, Any] = {
        "encoder": encoder.T,
        "decoder": tensors.tensor("W_dec", (size, width)),
        "encoder_bias": tensors.tensor("b_enc", (size,)),
        "decoder_bias": bias,
        "sites": (site,),
    }
    if kind == "JumpReluAutoEncoder":
        return build("jumprelu", parameters={"threshold": tensors.tensor("threshold", (size,))}, **same)
    tensors.ignore("group_sizes")
    return _thresholded(tensors, tensors.integer("k"), options, site, input_bias=bias, **same)


def _thresholded(tensors: Ledger, k: int, options: Options, site: str, **same: Any) -> Dictionary:
    """Batch-top-k in use: one threshold for every feature."""
    value = tensors.number("threshold")
    size = same["encoder"].shape[0]
    if value < 0:
        if options.rows is None:
            raise unsettled(
                "the threshold of this batch-top-k was never estimated", tensors.where, "give --activations or --model"
            )
        plain = build("relu", **same)
        value = batch_threshold(plain.preactivations, options.rows(site), k)
    return build("jumprelu", parameters={"threshold": torch.full((size,), value)}, **same)


def write(dictionary: Dictionary, folder: Path) -> None:
    """The folder as its trainers save it."""
    kind, dictionary = _kind(dictionary)
    place = Site.parse(dictionary.site)
    d = {name: tensor.detach().cpu().contiguous() for name, tensor in dictionary.tensors.items()}
    linear: dict[str, Tensor] = {"encoder.weight": d["encoder"], "decoder.weight": d["decoder"].T.contiguous()}
    tensors = {
        "AutoEncoder": linear | {"encoder.bias": d["encoder_bias"], "bias": d["decoder_bias"]},
        "AutoEncoderNew": linear | {"encoder.bias": d["encoder_bias"], "decoder.bias": d["decoder_bias"]},
        "AutoEncoderTopK": linear | {"encoder.bias": d["encoder_bias"], "b_dec": d["decoder_bias"]},
        "GatedAutoEncoder": linear | {"decoder_bias": d["decoder_bias"]},
        "JumpReluAutoEncoder": {
            "W_enc": d["encoder"].T.contiguous(),
            "W_dec": d["decoder"],
            "b_enc": d["encoder_bias"],
            "b_dec": d["decoder_bias"],
        },
    }[kind]
    if kind == "AutoEncoderTopK":
        k = int(str(dictionary.activation.constants["k"]))
        tensors |= {"k": torch.tensor(k, dtype=torch.int), "threshold": torch.tensor(-1.0)}
    if kind == "GatedAutoEncoder":
        tensors |= {"r_mag": d["magnitude_log_scale"], "gate_bias": d["gate_bias"], "mag_bias": d["magnitude_bias"]}
    if kind == "JumpReluAutoEncoder":
        tensors |= {"threshold": d["threshold"]}
    model = dictionary.metadata.model
    trainer = {
        "dict_class": kind,
        "activation_dim": dictionary.width,
        "dict_size": dictionary.size,
        "layer": place.layer,
        "lm_name": model.reference if model else None,
        "submodule_name": f"{place.kind}_layer_{place.layer}",
    }
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(tensors, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps({"trainer": trainer, "buffer": {}}, indent=1) + "\n", encoding="utf-8")


def _kind(dictionary: Dictionary) -> tuple[str, Dictionary]:
    """The class that is this dictionary, and the dictionary with biases that it has a place for."""
    found = settings_of(dictionary)
    if found["kind"] != "sae":
        raise cannot_express(NAME, f"a {found['kind']}")
    for name, plain in (("normalisation", "none"), ("selection", "value")):
        if found[name] != plain:
            raise cannot_express(NAME, f"the {name} {found[name]}")
    place = Site.parse(dictionary.site)
    if place.kind not in ("resid_post", "resid_pre", "attn_out", "mlp_out"):
        raise cannot_express(NAME, f"the site {dictionary.site}")
    tied = torch.equal(dictionary.input_bias, dictionary.decoder_bias)
    match found["activation"]:
        case "relu":
            if tied:
                return "AutoEncoder", dictionary
            return "AutoEncoderNew", without_input_bias(dictionary)
        case "jumprelu":
            return "JumpReluAutoEncoder", without_input_bias(dictionary)
        case "gated" | "topk" as sigma if tied:
            return {"gated": "GatedAutoEncoder", "topk": "AutoEncoderTopK"}[sigma], dictionary
        case "gated" | "topk":
            raise cannot_express(NAME, "an input bias that is not the decoder bias")
        case other:
            raise cannot_express(NAME, f"the activation {other}")
