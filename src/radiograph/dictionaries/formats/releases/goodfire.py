"""Goodfire's open dictionaries: one `.pt` or `.pth` of a Llama layer.

    encoder_linear.weight [F, d]   encoder_linear.bias [F]   decoder_linear.weight [d, F]   decoder_linear.bias [d]

relu, no c; the layer is `-l19` in the name, the site resid_post.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from radiograph.dictionaries.formats import Imported, Options, Source, build

NAME: Final = "goodfire"
KEYS: Final = {"encoder_linear.weight", "encoder_linear.bias", "decoder_linear.weight", "decoder_linear.bias"}
_LAYER = re.compile(r"[-_]l(?:ayer)?[-_]?(\d+)", re.IGNORECASE)


def detect(source: Source) -> bool:
    """A file with these tensors."""
    return bool(_files(source))


def _files(source: Source) -> list[str]:
    return [name for name in source.names if name.endswith((".pt", ".pth")) and source.keys(name) >= KEYS]


def read(source: Source, options: Options) -> Iterator[Imported]:
    """One dictionary a file."""
    names = _files(source) or source.match("*.pt*")[:1] or ["sae.pt"]
    for name in names:
        found = _LAYER.findall(f"{source.path_text}/{name}")
        layer = int(found[-1]) if found else options.layer
        if options.layer not in (None, layer):
            continue
        tensors = source.tensors(name)
        encoder = tensors.tensor("encoder_linear.weight", (None, None))
        size, width = encoder.shape
        dictionary = build(
            "relu",
            encoder=encoder,
            decoder=tensors.tensor("decoder_linear.weight", (width, size)).T,
            encoder_bias=tensors.tensor("encoder_linear.bias", (size,)),
            decoder_bias=tensors.tensor("decoder_linear.bias", (width,)),
            sites=(options.placed(None if layer is None else f"resid_post.{layer}", name),),
        )
        yield Imported(dictionary, name="" if len(names) == 1 else name.rpartition(".")[0])
