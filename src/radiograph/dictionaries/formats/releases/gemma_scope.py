"""Gemma Scope: `params.npz` under `layer_N/width_W/average_l0_X`.

    W_enc [d, F]   W_dec [F, d_out]   b_enc [F]   b_dec [d_out]   threshold [F]      first letters in either case

1. jumprelu, no c; the training scale is folded already   2. the repository says the place: res → resid_post, att →
attn_z (as wide as all heads together), mlp → mlp_out, an `embedding` folder → embed, whose rows the model multiplies by
√d: E/√d and D·√d read and write our site   3. transcoders: public loaders disagree with the paper about whether the
normalised row has passed the gain; the reading before it (resid_mid, unit_rms) is taken, the one after it (mlp_in) is
a rival that data decide about
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from radiograph.core import Site
from radiograph.dictionaries._dictionary import Dictionary
from radiograph.dictionaries.formats import (
    Imported,
    Options,
    Recorded,
    Source,
    build,
    cannot_express,
    settings_of,
    without_input_bias,
)

NAME: Final = "gemma_scope"
FILE: Final = "params.npz"
KEYS: Final = {"w_enc", "w_dec", "b_enc", "b_dec", "threshold"}
_LAYER = re.compile(r"layer_(\d+)")
_L0 = re.compile(r"average_l0_(\d+)")
_RELEASE = re.compile(r".*[-_](res|att|mlp|transcoder)s?(?:[-_].*)?")
_SITES: Final = {"res": "resid_post", "att": "attn_z", "mlp": "mlp_out"}


def detect(source: Source) -> bool:
    """The file, with these five arrays at least."""
    return bool(_files(source))


def _files(source: Source) -> list[str]:
    named = [n for n in source.names if n.split("/")[-1] == FILE]
    return [n for n in named if {key.lower() for key in source.keys(n)} >= KEYS]


def read(source: Source, options: Options) -> Iterator[Imported]:
    """One dictionary a file; of several, only those of `--layer` where it is given."""
    for name in _files(source) or [FILE]:
        place = f"{source.path_text}/{name}"
        layers = _LAYER.findall(place)
        layer = int(layers[-1]) if layers else options.layer
        if options.layer in (None, layer):
            yield _one(source, name, place, layer, options)


def _one(source: Source, name: str, place: str, layer: int | None, options: Options) -> Imported:
    tensors = source.tensors(name)
    stored = {key.lower(): key for key in tensors.names}
    encoder = tensors.tensor(stored.get("w_enc", "W_enc"), (None, None))
    width, size = encoder.shape
    decoder = tensors.tensor(stored.get("w_dec", "W_dec"), (size, None))
    kind, embeds = _kind(place)
    embedding = embeds and options.site is None
    transcodes = kind == "transcoder"
    site, target = _places(kind, layer, embeds, options, name)
    root = width**0.5
    dictionary = build(
        "jumprelu",
        encoder=encoder.T / root if embedding else encoder.T,
        decoder=decoder * root if embedding else decoder,
        encoder_bias=tensors.tensor(stored.get("b_enc", "b_enc"), (size,)),
        decoder_bias=tensors.tensor(stored.get("b_dec", "b_dec")) * (root if embedding else 1),
        parameters={"threshold": tensors.tensor(stored.get("threshold", "threshold"), (size,))},
        sites=(site,),
        target=target,
        normalisation="unit_rms" if transcodes and options.site is None else "none",
        denormalise=not transcodes,
    )
    l0 = _L0.search(place)
    rivals = {}
    if transcodes and options.site is None:
        rivals["after the gain"] = replace(dictionary, sites=(f"mlp_in.{layer}",), normalisation="none")
    folder = name.removesuffix(FILE).rstrip("/")
    return Imported(
        dictionary,
        name=folder if len(_files(source)) > 1 else "",
        bos="skip",
        recorded=Recorded(l0=float(l0[1])) if l0 else None,
        rivals=rivals,
    )


def _kind(place: str) -> tuple[str | None, bool]:
    """What the nearest folder that names a release says, and whether the file lies under its `embedding`."""
    folders = place.split("/")[:-1]
    for number in reversed(range(len(folders))):
        if found := _RELEASE.fullmatch(folders[number]):
            return found[1], "embedding" in folders[number + 1 :]
    return None, "embedding" in folders


def _places(kind: str | None, layer: int | None, embeds: bool, options: Options, where: str) -> tuple[str, str | None]:
    if kind == "transcoder":
        site = options.placed(None if layer is None else f"resid_mid.{layer}", where)
        return site, options.placed(None if layer is None else f"mlp_out.{layer}", where, of="target")
    if embeds:
        return options.placed("embed", where), None
    return options.placed(f"{_SITES[kind]}.{layer}" if kind and layer is not None else None, where), None


def write(dictionary: Dictionary, folder: Path) -> None:
    """One file, under folders of its layer, width and L0."""
    found = settings_of(dictionary)
    if found["kind"] != "sae":
        raise cannot_express(NAME, f"a {found['kind']}")
    if found["activation"] not in ("jumprelu", "relu"):
        raise cannot_express(NAME, f"the activation {found['activation']}")
    for name, plain in (("normalisation", "none"), ("selection", "value")):
        if found[name] != plain:
            raise cannot_express(NAME, f"the {name} {found[name]}")
    site = Site.parse(dictionary.site)
    release = {"resid_post": "res", "attn_z": "att", "mlp_out": "mlp"}.get(site.kind)
    if release is None or site.head is not None:
        raise cannot_express(NAME, f"the site {dictionary.site}")
    plain_inputs = without_input_bias(dictionary)
    arrays = {name: tensor.detach().cpu().numpy() for name, tensor in plain_inputs.tensors.items()}
    l0 = round(dictionary.metadata.quality.l0) if dictionary.metadata.quality else 0
    place = folder / f"scope-{release}" / f"layer_{site.layer}" / f"width_{dictionary.size}" / f"average_l0_{l0}"
    place.mkdir(parents=True)
    np.savez(
        place / FILE,
        W_enc=np.ascontiguousarray(arrays["encoder"].T),
        W_dec=arrays["decoder"],
        b_enc=arrays["encoder_bias"],
        b_dec=arrays["decoder_bias"],
        threshold=arrays.get("threshold", np.zeros_like(arrays["encoder_bias"])),
    )
