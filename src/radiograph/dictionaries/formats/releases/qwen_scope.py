"""Qwen-Scope: `layerN.sae.pt` in a repository whose name holds width and k.

    W_enc [F, d]   W_dec [d, F]   b_enc [F]   b_dec [d]

1. topk, no c; the site is resid_post.N   2. k is no part of the file: `-W32K-L0_50` in the name of the folder means F =
32 · 1024 and k = 50; elsewhere `--k` says it
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from radiograph.core import FormatError
from radiograph.dictionaries.formats import Imported, Options, Source, build, unsettled

NAME: Final = "qwen_scope"
_FILE = re.compile(r"(?:.*/)?layer(\d+)\.sae\.pt")
_NAME = re.compile(r"-W(\d+)K-L0_(\d+)", re.IGNORECASE)


def detect(source: Source) -> bool:
    """A file of that name."""
    return any(_FILE.fullmatch(name) for name in source.names)


def read(source: Source, options: Options) -> Iterator[Imported]:
    """One dictionary a layer; only that of `--layer` where it is given."""
    found = sorted((int(match[1]), name) for name in source.names if (match := _FILE.fullmatch(name)))
    stated = _NAME.search(source.path_text)
    k = options.k or (int(stated[2]) if stated else None)
    for layer, name in found:
        if options.layer not in (None, layer):
            continue
        if k is None:
            raise unsettled("the file does not say how many features fire", name, "give --k")
        tensors = source.tensors(name)
        encoder = tensors.tensor("W_enc", (None, None))
        size, width = encoder.shape
        if stated and size != int(stated[1]) * 1024:
            raise FormatError("number of features", where=name, expected=f"{int(stated[1]) * 1024:,}", got=f"{size:,}")
        dictionary = build(
            "topk",
            {"k": k},
            encoder=encoder,
            decoder=tensors.tensor("W_dec", (width, size)).T,
            encoder_bias=tensors.tensor("b_enc", (size,)),
            decoder_bias=tensors.tensor("b_dec", (width,)),
            sites=(options.placed(f"resid_post.{layer}", name),),
        )
        yield Imported(dictionary, name=f"layer_{layer}" if len(found) > 1 else "")
