"""science-of-finetuning/crosscoder_learning: `ae.pt`, or `config.json` with `model.safetensors`.

    encoder.weight [s, d, F]   encoder.bias [F]   decoder.weight [s, F, d]   decoder.bias [s, d]
    code_normalization_id   k, threshold (batch-top-k)   activation_mean, activation_std [s, d]
    activation_global_scale [s]

1. x' = (x − mean) · scale per source; a mean of NaN is off. No other c; the output is scaled back and moved by the mean
2. features are compared by π · w: w = Σ_s ‖D_s‖ (id 1), the length over all sources (2), or 1 (4). Each is folded into
   encoder and decoder, so that the threshold stays as it is. Mixed weights (3) need factors that no file holds, and
   per-source codes (5) are no crosscoder of ours: both are refused
3. `_orig_mod.` in front of a name is what a compiled module adds. The order of the sources is base, then fine-tuned
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import torch
from torch import Tensor

from radiograph.core import FormatError
from radiograph.core import Source as Address
from radiograph.core.shapes import Float
from radiograph.dictionaries.formats import Imported, Ledger, Options, Source, batch_threshold, build, unsettled

NAME: Final = "crosscoder_learning"
FILES: Final = ("model.safetensors", "ae.pt")
PREFIX: Final = "_orig_mod."
CROSSCODER, JOINT, MIXED, PLAIN, DECOUPLED = 1, 2, 3, 4, 5
CODES: Final = ("CROSSCODER", "SAE", "MIXED", "NONE", "DECOUPLED")
"""The same in words, as the configuration has it."""
# Tensors beside the configuration hold or use them; weights of the mixed codes, which are refused; rates of training.
_KNOWN: Final = (
    *("k", "k_target", "threshold_beta", "activation_mean", "activation_std", "target_rms"),
    *("code_normalization", "code_normalization_alpha_*"),
)


def detect(source: Source) -> bool:
    """Encoder and decoder with a bias each, and no class of a dictionary of one site."""
    return _file(source) is not None


def _file(source: Source) -> str | None:
    needed = {"encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias"}
    for name in FILES:
        found = source.peek(name) if name in source else {}
        keys = {key.removeprefix(PREFIX): key for key in found}
        if needed <= set(keys) and getattr(found[keys["encoder.weight"]], "ndim", 0) == 3:
            return name
    return None


def read(source: Source, options: Options) -> Iterator[Imported]:
    """The one crosscoder."""
    name = _file(source) or next((n for n in FILES if n in source), FILES[0])
    opened = source.tensors(name)
    tensors = Ledger({key.removeprefix(PREFIX): opened.take(key) for key in opened.names}, name)
    source.ledgers.append(tensors)
    config = source.document("config.json") if "config.json" in source else Ledger({}, "config.json")
    config.describes(*_KNOWN)
    keep = bool(config.take("keep_relative_variance", True))
    encoder = tensors.tensor("encoder.weight", (None, None, None))
    count, width, size = encoder.shape
    config.expect("encoder_layers", list(range(count)))
    sites = _sites(options, count, name)
    decoder = tensors.tensor("decoder.weight", (count, size, width)).permute(1, 0, 2)
    weights = _weights(tensors, config, decoder)
    mean, scales = _normalisation(tensors, (count, width), keep=keep)
    shift = mean * scales.unsqueeze(1)
    same: dict[str, Any] = {
        "encoder": encoder.permute(2, 0, 1).reshape(size, -1) * weights.unsqueeze(1),
        "decoder": decoder.reshape(size, -1) / weights.unsqueeze(1),
        "encoder_bias": tensors.tensor("encoder.bias", (size,)) * weights,
        "input_bias": shift.flatten(),
        "decoder_bias": (tensors.tensor("decoder.bias", (count, width)) + shift).flatten(),
    }
    sigma, parameters = "relu", {}
    if "threshold" in tensors:
        k, value = tensors.integer("k"), tensors.number("threshold")
        if value < 0:
            if options.rows is None:
                fix = "give --activations or --model"
                raise unsettled("the threshold of this batch-top-k was never estimated", name, fix)
            rows = torch.cat([options.rows(site) for site in sites], dim=1) * scales.repeat_interleave(width)
            plain = build("relu", sites=sites, kind="crosscoder", **same)
            value = batch_threshold(plain.preactivations, rows, k)
        sigma, parameters = "jumprelu", {"threshold": torch.full((size,), value)}
    dictionary = build(sigma, parameters=parameters, sites=sites, kind="crosscoder", **same)
    yield Imported(dictionary, input_scales=tuple(map(float, scales)), notes=("features are given as π · w",))


def _sites(options: Options, count: int, where: str) -> tuple[str, ...]:
    stated = f"resid_post.{options.layer}" if options.layer is not None else None
    site = options.placed(stated, where)
    if count < 2:
        raise FormatError("a crosscoder of one source", where=where, expected="two or more")
    roles = ("reference", "candidate", *(f"candidate{i}" for i in range(2, count)))[:count]
    return tuple(str(Address(Address.parse(site).site, role)) for role in roles)


def _weights(
    tensors: Ledger, config: Ledger, decoder: Float[Tensor, "feature source width"]
) -> Float[Tensor, " feature"]:
    kind = tensors.integer("code_normalization_id") if "code_normalization_id" in tensors else CROSSCODER
    if 1 <= kind <= len(CODES):
        config.expect("code_normalization", CODES[kind - 1], CODES[kind - 1].lower())
    match kind:
        case 1:
            return decoder.norm(dim=2).sum(1)
        case 2:
            return decoder.flatten(1).norm(dim=1)
        case 4:
            return decoder.new_ones(len(decoder))
        case _:
            what = {MIXED: "mixed code normalisation, whose weights are in no file", DECOUPLED: "codes per source"}
            raise unsettled(
                what.get(kind, f"code normalisation {kind}"), tensors.where, "import a file of id 1, 2 or 4"
            )


def _normalisation(
    tensors: Ledger, shape: tuple[int, int], *, keep: bool
) -> tuple[Float[Tensor, "source width"], Float[Tensor, " source"]]:
    """Mean, and scale, of each source; 0 and 1 where the file has none."""
    count, width = shape
    mean = tensors.tensor("activation_mean", shape, None) if "activation_mean" in tensors else None
    tensors.ignore("activation_std", "target_rms")
    scale = tensors.tensor("activation_global_scale", None, None) if "activation_global_scale" in tensors else None
    if mean is None or bool(mean.isnan().any()):
        return torch.zeros(count, width), torch.ones(count)
    if not keep or scale is None:
        fix = "save it with keep_relative_variance"
        raise unsettled("every column has a scale of its own", f"{tensors.where}: activation_std", fix)
    return mean, scale.expand(count).clone()
