"""The open replication of crosscoders over two models: `cfg.json` and `cc_weights.pt` (or another name in `.pt`).

    W_enc [2, d, F]   W_dec [F, 2, d]   b_enc [F]   b_dec [2, d]          σ is relu, no c

The scale that each model's rows were multiplied by is in no file: `--input-scale A,B`, or a refusal.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from radiograph.core import Source as Address
from radiograph.dictionaries.formats import Imported, Options, Source, build

NAME: Final = "crosscoder_replication"
KEYS: Final = {"W_enc", "W_dec", "b_enc", "b_dec"}


def detect(source: Source) -> bool:
    """A file with these four tensors, W_enc in three dimensions."""
    return bool(_files(source))


def _files(source: Source) -> list[str]:
    found = [name for name in source.names if name.endswith(".pt") and source.keys(name) >= KEYS]
    return [name for name in found if getattr(source.peek(name)["W_enc"], "ndim", 0) == 3]


def read(source: Source, options: Options) -> Iterator[Imported]:
    """One crosscoder a file; of several the last, which trained longest."""
    name = sorted(_files(source) or [n for n in source.names if n.endswith(".pt")] or ["cc_weights.pt"])[-1]
    stated = None if options.layer is None else f"resid_pre.{options.layer}"
    model = None
    for config in source.match("*cfg.json"):
        document = source.document(config)
        document.describes()
        stated = document.take("hook_point", stated)
        model = document.take("model_name", None)
    tensors = source.tensors(name)
    encoder = tensors.tensor("W_enc", (None, None, None))
    count, width, size = encoder.shape
    site = Address.parse(options.placed(stated, name)).site
    roles = ("reference", "candidate", *(f"candidate{i}" for i in range(2, count)))[:count]
    scales = options.scales(count, name)
    dictionary = build(
        "relu",
        encoder=encoder.permute(2, 0, 1).reshape(size, -1),
        decoder=tensors.tensor("W_dec", (size, count, width)).reshape(size, -1),
        encoder_bias=tensors.tensor("b_enc", (size,)),
        decoder_bias=tensors.tensor("b_dec", (count, width)).flatten(),
        sites=tuple(str(Address(site, role)) for role in roles),
        kind="crosscoder",
    )
    yield Imported(dictionary, input_scales=scales, model=model)
