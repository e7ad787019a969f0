"""circuit-tracer: a set of transcoders, one `layer_N.safetensors` a layer, and `config.yaml`.

    W_enc [F, d]  W_dec [F, d]  b_enc  b_dec   [activation_function.threshold]  [W_skip [d, d]]

1. σ is relu unless there is a threshold; no c. `feature_input_hook` and `feature_output_hook` name the sites; a hook
inside a norm is the stream before it with a row-wise normalisation that is not undone   2. the skip is x · W_skipᵀ
3. cross-layer sets keep `W_enc_N` and `W_dec_N [F, L − N, d]` in files of those names; they write several layers and
are refused   4. a set is written from one dictionary at a time: `layer_N.safetensors` beside `config.yaml`
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import yaml
from safetensors.torch import save_file
from torch import Tensor

from radiograph.core import Site
from radiograph.dictionaries._dictionary import Dictionary
from radiograph.dictionaries.formats import (
    Imported,
    Options,
    Source,
    build,
    cannot_express,
    hook_of,
    place_of,
    settings_of,
    unsettled,
)

NAME: Final = "circuit_tracer"
CONFIG: Final = "config.yaml"
_LAYER = re.compile(r"(?:.*/)?layer_(\d+)\.safetensors")
_CROSS = re.compile(r"(?:.*/)?W_(?:enc|dec)_\d+\.safetensors")


def detect(source: Source) -> bool:
    """The configuration, and a file a layer."""
    return CONFIG in source and any(_LAYER.fullmatch(n) or _CROSS.fullmatch(n) for n in source.names)


def read(source: Source, options: Options) -> Iterator[Imported]:
    """One dictionary a layer."""
    config = source.document(CONFIG)
    config.describes()
    if any(_CROSS.fullmatch(n) for n in source.names):
        raise unsettled("a cross-layer transcoder writes several layers", CONFIG, "import a set of one layer each")
    config.expect("model_kind", "transcoder_set")
    hooks = [config.take(f"feature_{side}_hook", None) for side in ("input", "output")]
    model = config.take("model_name", None)
    layers = sorted((int(found[1]), name) for name in source.names if (found := _LAYER.fullmatch(name)))
    for layer, name in layers:
        if options.layer in (None, layer):
            yield _one(source, name, layer, hooks, str(model) if model else None, options)


def _one(
    source: Source, name: str, layer: int, hooks: list[str | None], model: str | None, options: Options
) -> Imported:
    tensors = source.tensors(name)
    encoder = tensors.tensor("W_enc", (None, None))
    size, width = encoder.shape
    read_at, normalisation = place_of(options.site or _named(hooks[0], layer, "input", name))
    written, _ = place_of(options.target or _named(hooks[1], layer, "output", name))
    threshold = "activation_function.threshold"
    parameters = {"threshold": tensors.tensor(threshold).expand(size)} if threshold in tensors else {}
    dictionary = build(
        "jumprelu" if parameters else "relu",
        encoder=encoder,
        decoder=tensors.tensor("W_dec", (size, None)),
        encoder_bias=tensors.tensor("b_enc", (size,)),
        decoder_bias=tensors.tensor("b_dec"),
        parameters=parameters,
        skip=tensors.tensor("W_skip", (None, width)) if "W_skip" in tensors else None,
        sites=(read_at,),
        target=written if written != read_at else None,
        normalisation=normalisation,
        denormalise=normalisation == "none",
    )
    return Imported(dictionary, name=f"layer_{layer}", model=model)


def _named(hook: str | None, layer: int, side: str, where: str) -> str:
    if not hook:
        raise unsettled(f"the set does not name its {side} hook", where, "give --site and --target")
    return hook if hook.startswith("blocks.") else f"blocks.{layer}.{hook}"


def write(dictionary: Dictionary, folder: Path) -> None:
    """A set of one layer."""
    found = settings_of(dictionary)
    if found["kind"] == "crosscoder":
        raise cannot_express(NAME, "a crosscoder")
    if found["activation"] not in ("relu", "jumprelu"):
        raise cannot_express(NAME, f"the activation {found['activation']}")
    for name, plain in (("normalisation", "none"), ("selection", "value"), ("input bias", False)):
        if found[name] != plain:
            what = f"the {name} {found[name]}" if name != "input bias" else "an input bias"
            raise cannot_express(NAME, what, instead="move it into the encoder bias, or keep our own format")
    site, target = Site.parse(dictionary.site), Site.parse(dictionary.target or dictionary.site)
    if site.layer is None or site.layer != target.layer or site.head is not None:
        raise cannot_express(NAME, f"a place outside one layer: {site}, {target}")
    tensors: dict[str, Tensor] = {
        "W_enc": dictionary.encoder,
        "W_dec": dictionary.decoder,
        "b_enc": dictionary.encoder_bias,
        "b_dec": dictionary.decoder_bias,
    }
    if "threshold" in dictionary.parameters:
        tensors["activation_function.threshold"] = dictionary.parameters["threshold"]
    if dictionary.skip is not None:
        tensors["W_skip"] = dictionary.skip
    folder.mkdir(parents=True, exist_ok=True)
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(plain, folder / f"layer_{site.layer}.safetensors")
    hooks = {f"feature_{side}_hook": _inside(str(s)) for side, s in (("input", site), ("output", target))}
    model = dictionary.metadata.model
    document = {"model_name": model.reference if model else None, "model_kind": "transcoder_set", **hooks}
    (folder / CONFIG).write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")


def _inside(address: str) -> str:
    """The hook without its block."""
    return hook_of(address)[0].split(".", 2)[-1]
