"""interp-lab: one `sae.json` (`interp-lab.sae.v1`) with every number as text.

    mean [d] (c and g)   encoder_weight [F][d]   encoder_bias [F]   decoder_weight [F][d]
    config {sparsity, top_k, jump_threshold}

1. σ follows `sparsity`: relu-l1, topk with `top_k` (all of them without one), jumprelu with one `jump_threshold`
2. `layer` counts hidden states: 0 is the embedding, n is resid_post.n-1; without one it was the last, after the final
norm   3. a file whose `method` begins with `fallback` holds directions that nobody trained: refused without
`--untrained`
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import torch
from torch import Tensor

from radiograph.core import FormatError
from radiograph.core.limits import DICTIONARY_BYTES
from radiograph.dictionaries.formats import Imported, Ledger, Options, Source, build, unsettled

NAME: Final = "interp_lab"
SCHEMA: Final = "interp-lab.sae.v1"
FILE: Final = "sae.json"


def detect(source: Source) -> bool:
    """Its file, with its schema or its tensors."""
    return any(name.split("/")[-1] == FILE for name in source.names)


def read(source: Source, options: Options) -> Iterator[Imported]:
    """The one dictionary."""
    name = next((n for n in source.names if n.split("/")[-1] == FILE), FILE)
    document = source.document(name, limit=DICTIONARY_BYTES)
    document.ignore("source", "source_feature_ids", "metrics", "input_dim", "latent_dim")
    schema = str(document.take("format"))
    if schema != SCHEMA:
        raise FormatError(f"schema {schema!r}", where=name, expected=SCHEMA)
    if str(document.take("method", "")).startswith("fallback") and not options.untrained:
        raise unsettled("the file says that nobody trained this dictionary", f"{name}: method", "give --untrained")
    layer = document.take("layer", None)
    stated = "final_norm" if layer is None else "embed" if int(layer) == 0 else f"resid_post.{int(layer) - 1}"
    config = document.part("config", {})
    config.describes()
    encoder = _matrix(document, "encoder_weight")
    sigma, constants, parameters = _activation(config, options, len(encoder))
    mean = _vector(document, "mean")
    dictionary = build(
        sigma,
        constants,
        encoder=encoder,
        decoder=_matrix(document, "decoder_weight"),
        encoder_bias=_vector(document, "encoder_bias"),
        input_bias=mean,
        decoder_bias=mean,
        parameters=parameters,
        sites=(options.placed(stated, name),),
    )
    yield Imported(dictionary, model=document.take("model", None))


def _activation(config: Ledger, options: Options, size: int) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    kind = str(config.take("sparsity", "relu-l1"))
    k, threshold = config.take("top_k", None), config.take("jump_threshold", None)
    match kind:
        case "topk":
            return "topk", {"k": min(int(k or options.k or size), size)}, {}
        case "jumprelu":
            return "jumprelu", {}, {"threshold": torch.full((size,), float(threshold or 0.0))}
        case "relu-l1" | "fallback-relu":
            return "relu", {}, {}
        case _:
            raise FormatError(f"sparsity {kind!r}", where=config.where, expected="relu-l1, topk or jumprelu")


def _matrix(document: Ledger, name: str) -> Tensor:
    return _numbers(document, name, 2)


def _vector(document: Ledger, name: str) -> Tensor:
    return _numbers(document, name, 1)


def _numbers(document: Ledger, name: str, dimensions: int) -> Tensor:
    try:
        found = torch.tensor(document.take(name), dtype=torch.float32)
    except (ValueError, TypeError) as error:
        raise FormatError(f"{name} is no table of numbers", where=document.where, got=str(error)) from error
    if found.ndim != dimensions:
        raise FormatError(
            f"shape of {name}", where=document.where, expected=f"{dimensions} dimensions", got=str(found.ndim)
        )
    return found
