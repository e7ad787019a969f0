"""OpenMOSS Language-Model-SAEs (llamascopium): a folder with `config.json` and `sae_weights.safetensors`.

    W_E [d, F]  b_E [F]  W_D [F, d]  b_D [d]            a crosscoder has a leading [n] on all of them, b_E [n, F] summed
    activation_function.log_jumprelu_threshold [F]      dataset_average_activation_norm.HOOK

1. no c; θ is the exponential of the stored logarithm   2. `norm_activation`: dataset-wise multiplies the rows of a hook
by √d / its average norm; inference files have that folded; token-wise is n =
unit_rms, and refused where another hook is written, whose norms only the model knows
3. `sparsity_include_decoder_norm`: features are compared by what they write. A crosscoder gates each source by its own
decoder norm, so only relu, which compares nothing, is one code for all sources: the others are refused
4. R1-distill files are older: `encoder.weight [F, d]`, `decoder.weight [d, F]`, `log_jumprelu_threshold`
`clt`, `lorsa`, `molt` and sharded `.dcp` files are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import torch
from torch import Tensor

from radiograph.core import FormatError
from radiograph.core import Source as Address
from radiograph.dictionaries._document import Normalisation
from radiograph.dictionaries.formats import Imported, Ledger, Options, Source, build, unsettled

NAME: Final = "llamascopium"
CONFIG, WEIGHTS = "config.json", "sae_weights.safetensors"
THRESHOLD: Final = "activation_function.log_jumprelu_threshold"
OLD_THRESHOLD: Final = "log_jumprelu_threshold"
AVERAGE: Final = "dataset_average_activation_norm."
# Said by the tensors; already in the weights; of another σ than `act_fn` (relu compares nothing); of speed or training.
_KNOWN: Final = (
    *("use_decoder_bias", "force_unit_decoder_norm", "top_k", "sparsity_include_decoder_norm"),
    *("sparsity_threshold_for_*", "promote_act_fn_dtype", "jumprelu_threshold_window"),
)


def detect(source: Source) -> bool:
    """Both files, and the tensors of this library; SAELens has another configuration file."""
    return WEIGHTS in source and CONFIG in source and {"hook_point_in", "hook_points"} & source.keys(CONFIG) != set()


def read(source: Source, options: Options) -> Iterator[Imported]:
    """The one dictionary."""
    config, opened = source.document(CONFIG), source.tensors(WEIGHTS)
    config.describes(*_KNOWN)
    config.expect("apply_decoder_bias_to_pre_encoder", False)
    kind = str(config.take("sae_type", "sae"))
    if kind not in ("sae", "crosscoder"):
        raise FormatError(f"sae_type {kind!r}", where=f"{config.where}: sae_type", expected="sae or crosscoder")
    if config.take("use_glu_encoder", False):
        raise unsettled("an encoder with a gated linear unit has no codec of ours", config.where, "train without it")
    yield _crosscoder(config, opened, options) if kind == "crosscoder" else _one(config, opened, options)


def _one(config: Ledger, tensors: Ledger, options: Options) -> Imported:
    hooks = [str(config.take(name, "")) for name in ("hook_point_in", "hook_point_out")]
    site = options.placed(hooks[0], config.where)
    target = options.placed(hooks[1], config.where, of="target") if hooks[1] != hooks[0] else None
    if "W_E" in tensors:
        encoder, decoder = tensors.tensor("W_E", (None, None)).T, tensors.tensor("W_D", (None, None))
        bias, out = tensors.tensor("b_E"), tensors.tensor("b_D", None, None) if "b_D" in tensors else None
    else:
        encoder, decoder = tensors.tensor("encoder.weight", (None, None)), tensors.tensor("decoder.weight").T
        bias = tensors.tensor("encoder.bias")
        out = tensors.tensor("decoder.bias", None, None) if "decoder.bias" in tensors else None
    sigma, constants, parameters = _activation(config, tensors, encoder.shape[0])
    scales, normalisation = _scales(config, tensors, hooks, encoder.shape[1])
    dictionary = build(
        sigma,
        constants,
        encoder=encoder,
        decoder=decoder,
        encoder_bias=bias,
        decoder_bias=out,
        parameters=parameters,
        sites=(site,),
        target=target,
        selection="decoder_norm" if config.take("sparsity_include_decoder_norm", True) else "value",
        normalisation=normalisation,
    )
    return Imported(dictionary, input_scales=scales[:1], target_scales=scales[1:] if target else ())


def _crosscoder(config: Ledger, tensors: Ledger, options: Options) -> Imported:
    hooks = [str(hook) for hook in config.take("hook_points")]
    encoder = tensors.tensor("W_E", (len(hooks), None, None))
    count, width, size = encoder.shape
    sigma, constants, parameters = _activation(config, tensors, size)
    if sigma != "relu":
        what = f"{sigma} codes that each source gates by its own decoder norm"
        raise unsettled(what, f"{config.where}: act_fn", "import a crosscoder with relu")
    scales, normalisation = _scales(config, tensors, hooks, width)
    dictionary = build(
        sigma,
        constants,
        encoder=encoder.permute(2, 0, 1).reshape(size, -1),
        decoder=tensors.tensor("W_D", (count, size, width)).permute(1, 0, 2).reshape(size, -1),
        encoder_bias=tensors.tensor("b_E", (count, size)).sum(0),
        decoder_bias=tensors.tensor("b_D", (count, width)).flatten() if "b_D" in tensors else None,
        parameters=parameters,
        sites=tuple(_source(hook, options, config.where) for hook in hooks),
        kind="crosscoder",
        normalisation=normalisation,
    )
    return Imported(dictionary, input_scales=scales)


def _source(hook: str, options: Options, where: str) -> str:
    return str(Address.parse(options.placed(hook, where)).site)


def _activation(config: Ledger, tensors: Ledger, size: int) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    name = str(config.take("act_fn", "relu")).lower()
    match name:
        case "relu":
            return "relu", {}, {}
        case "topk":
            return "topk", {"k": int(config.take("top_k"))}, {}
        case "jumprelu":
            stored = THRESHOLD if THRESHOLD in tensors else OLD_THRESHOLD
            return "jumprelu", {}, {"threshold": tensors.tensor(stored, (size,)).exp()}
        case "batchtopk":
            raise unsettled(
                "a batch-top-k without a threshold fires by what else is in the batch",
                f"{config.where}: act_fn",
                "convert it to jumprelu with its own library first",
            )
        case _:
            raise FormatError(f"act_fn {name!r}", where=f"{config.where}: act_fn", expected="relu, topk or jumprelu")


def _scales(config: Ledger, tensors: Ledger, hooks: list[str], width: int) -> tuple[tuple[float, ...], Normalisation]:
    mode = str(config.take("norm_activation", "dataset-wise"))
    tensors.ignore(AVERAGE + "*")
    if mode == "inference":
        return (), "none"
    if mode == "token-wise":
        if len(set(hooks)) > 1 and "hook_point_out" in config:
            where = f"{config.where}: norm_activation"
            raise unsettled("every row that is written was scaled by its own norm", where, "import a dataset-wise file")
        return (), "unit_rms"
    if mode != "dataset-wise":
        where = f"{config.where}: norm_activation"
        raise unsettled(
            f"{mode} norms depend on the batch", where, "convert it to inference with its own library first"
        )
    norms = [tensors.number(AVERAGE + hook) for hook in hooks]
    if min(norms) <= 0 or not bool(torch.tensor(norms).isfinite().all()):
        raise FormatError("an average norm is not above 0", where=tensors.where, got=str(norms))
    return tuple(width**0.5 / norm for norm in norms), "none"
