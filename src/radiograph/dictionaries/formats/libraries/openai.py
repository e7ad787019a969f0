"""OpenAI's sparse_autoencoder: one file `LAYER.pt` under a folder that names the place.

    pre_bias [d] (c and g)   encoder.weight [F, d]   latent_bias [F]   decoder.weight [d, F]
    activation, activation_state_dict{k, postact_fn}: texts and numbers beside the tensors; newer torch repeats the
    latter as activation.k, activation.postact_fn. Statistics of training are left where they are

1. TopK files normalise every row (mean 0, standard deviation 1 over n − 1, + 1e-5) and undo it on the way out; ReLU
   files do not   2. σ is topk or relu; top-k is followed by its `postact_fn`, ReLU
3. the place: mlp_post_act → mlp_hidden, resid_delta_attn → attn_out, resid_post_attn → resid_mid, resid_delta_mlp →
   mlp_out, resid_post_mlp → resid_post; the layer is the file's name
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from radiograph.core import FormatError
from radiograph.dictionaries.formats import Imported, Ledger, Options, Source, build, unsettled

NAME: Final = "openai"
KEYS: Final = {"pre_bias", "latent_bias", "encoder.weight", "decoder.weight"}
PLACES: Final = {
    "mlp_post_act": "mlp_hidden",
    "resid_delta_attn": "attn_out",
    "resid_post_attn": "resid_mid",
    "resid_delta_mlp": "mlp_out",
    "resid_post_mlp": "resid_post",
}
STATISTICS: Final = ("stats_last_nonzero", "latents_activation_frequency", "latents_mean_square")
_PLACE = re.compile("|".join(PLACES))


def detect(source: Source) -> bool:
    """A file of these tensors."""
    return bool(_files(source))


def _files(source: Source) -> list[str]:
    return [name for name in source.names if name.endswith(".pt") and source.keys(name) >= KEYS]


def read(source: Source, options: Options) -> Iterator[Imported]:
    """One dictionary a file; of several, only that of `--layer` where it is given."""
    for name in _files(source) or source.match("*.pt")[:1] or ["0.pt"]:
        layer = _layer(name, options)
        if options.layer is not None and layer != options.layer:
            continue
        yield _one(source, name, layer, options)


def _one(source: Source, name: str, layer: int | None, options: Options) -> Imported:
    tensors = source.tensors(name)
    tensors.ignore(*STATISTICS)
    encoder = tensors.tensor("encoder.weight", (None, None))
    size, width = encoder.shape
    sigma, constants = _activation(tensors, options)
    bias = tensors.tensor("pre_bias", (width,))
    dictionary = build(
        sigma,
        constants,
        encoder=encoder,
        decoder=tensors.tensor("decoder.weight", (width, size)).T,
        encoder_bias=tensors.tensor("latent_bias", (size,)),
        input_bias=bias,
        decoder_bias=bias,
        sites=(_site(source, name, layer, options),),
        normalisation="layer_norm" if sigma == "topk" else "none",
    )
    stem = name.removesuffix(".pt")
    return Imported(dictionary, name="" if len(_files(source)) == 1 else stem)


def _activation(tensors: Ledger, options: Options) -> tuple[str, dict[str, Any]]:
    name = str(tensors.take("activation", "ReLU"))
    state = tensors.part("activation_state_dict", {})
    if name == "ReLU":
        state.describes()
        return "relu", {}
    if name != "TopK":
        raise FormatError(f"activation {name!r}", where=f"{tensors.where}: activation", expected="ReLU or TopK")
    state.expect("postact_fn", "ReLU")
    if "k" not in state and options.k is None:
        raise unsettled("the file does not say how many features fire", tensors.where, "give --k")
    k = state.integer("k") if "k" in state else options.k
    tensors.expect("activation.k", k)
    tensors.expect("activation.postact_fn", "ReLU")
    return "topk", {"k": k}


def _layer(name: str, options: Options) -> int | None:
    stem = name.split("/")[-1].removesuffix(".pt")
    return int(stem) if stem.isdigit() else options.layer


def _site(source: Source, name: str, layer: int | None, options: Options) -> str:
    found = _PLACE.search(f"{source.path_text}/{name}")
    stated = f"{PLACES[found[0]]}.{layer}" if found and layer is not None else None
    return options.placed(stated, name)
