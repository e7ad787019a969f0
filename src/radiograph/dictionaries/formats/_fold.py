"""Scales and norms out of a foreign dictionary, so that every file we write reads and writes plain rows.

A dictionary that was trained on a·x and writes a_t·y computes, with S = a_s / a_t,

    z = σ((x − c/a_s) (S·E)ᵀ + b/a_t)        y = z D + g/a_t        θ and the other thresholds of σ also / a_t

1. norms that decide a selection are folded first, while they are those of training   2. scales are folded: all
thresholds move with them, the decoder rows stay (those of a crosscoder, whose sources may differ, are divided)
3. norms are folded where σ allows it. Each step leaves the function as it was. A row-wise normalisation n stays, and so
does a skip, which takes and gives plain rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from radiograph.core import Refusal, UserError
from radiograph.core.shapes import Float
from radiograph.dictionaries._dictionary import Dictionary
from radiograph.dictionaries.activations import activation

SCALED_CONSTANTS = ("residual_threshold",)
UNSCALED_PARAMETERS = ("magnitude_log_scale",)


def fold(
    dictionary: Dictionary, input_scales: tuple[float, ...] = (), target_scales: tuple[float, ...] = ()
) -> tuple[Dictionary, list[str]]:
    """The dictionary of plain rows, and what was folded, in words.

    Raises:
        UserError: another number of scales than sources, or one that is not above 0.
    """
    notes: list[str] = []
    if dictionary.selection == "decoder_norm":
        dictionary = _normed(dictionary, notes)
    if input_scales or target_scales:
        read, written = _scales(dictionary, input_scales, target_scales)
        if any(scale != 1 for scale in (*read, *written)):
            dictionary = scaled(dictionary, read, written)
            notes.append(f"scales folded: read {_text(read)}, written {_text(written)}")
    return _normed(dictionary, notes), notes


def scaled(dictionary: Dictionary, read: tuple[float, ...], written: tuple[float, ...]) -> Dictionary:
    """The same function for plain rows, of a dictionary for rows that were multiplied by `read` and `written`."""
    source = torch.cat([dictionary.encoder.new_full((w,), a) for w, a in zip(dictionary.widths, read, strict=True)])
    target = torch.cat(
        [dictionary.encoder.new_full((w,), a) for w, a in zip(dictionary.target_widths, written, strict=True)]
    )
    if dictionary.activation.name == "pursuit" and read != written:
        raise Refusal(
            "import_unsettled", "pursuit reads and writes at one scale", got=f"{_text(read)}, {_text(written)}"
        )
    unit = written[0] if len(set(written)) == 1 else 1.0
    constants = dict(dictionary.activation.constants)
    for name in constants.keys() & set(SCALED_CONSTANTS):
        constants[name] = float(str(constants[name])) / unit
    return replace(
        dictionary,
        encoder=dictionary.encoder * (source / unit),
        encoder_bias=dictionary.encoder_bias / unit,
        input_bias=dictionary.input_bias / source,
        decoder=dictionary.decoder * (unit / target),
        decoder_bias=dictionary.decoder_bias / target,
        activation=activation(dictionary.activation.name, constants),
        parameters={
            name: value if name in UNSCALED_PARAMETERS else value / unit
            for name, value in dictionary.parameters.items()
        },
    )


def without_input_bias(dictionary: Dictionary) -> Dictionary:
    """The same function with input bias 0: what it did moves into the biases of the encoder, up to rounding.

    For formats that have no place for an input bias of its own.

    Raises:
        Refusal: pursuit, which has no other bias.
    """
    if not bool((dictionary.input_bias != 0).any()):
        return dictionary
    if dictionary.activation.name == "pursuit":
        raise Refusal("not_expressible", "pursuit has no bias that could take over the input bias", fixable=True)
    shift = -(dictionary.encoder.double() @ dictionary.input_bias.double()).to(dictionary.encoder)
    parameters, bias = dict(dictionary.parameters), dictionary.encoder_bias + shift
    if dictionary.activation.name == "gated":
        bias = dictionary.encoder_bias
        parameters["gate_bias"] = parameters["gate_bias"] + shift
        parameters["magnitude_bias"] = parameters["magnitude_bias"] + shift * parameters["magnitude_log_scale"].exp()
    return replace(
        dictionary, encoder_bias=bias, parameters=parameters, input_bias=torch.zeros_like(dictionary.input_bias)
    )


def batch_threshold(
    pre: Callable[[Tensor], Float[Tensor, "row feature"]], rows: Float[Tensor, "row width"], k: int
) -> float:
    """The bound on pre-activations that lets k features a row pass on average: the (k · rows)-th largest positive one.

    Rows are taken in chunks; only the candidates above the running bound are kept.
    """
    keep = k * len(rows)
    best = rows.new_empty(0)
    for part in rows.split(max(1, 2**22 // max(1, rows.shape[1]))):
        values = pre(part).flatten()
        best = torch.cat([best, values[values > 0].to(best)])
        if len(best) > keep:
            best = best.topk(keep).values
    if len(best) < keep:
        return 0.0
    return float(best.min())


def _normed(dictionary: Dictionary, notes: list[str]) -> Dictionary:
    if dictionary.value_unit == "write_norm" and dictionary.selection == "value":
        return dictionary
    folded = dictionary.folded()
    if folded is dictionary:
        note = "decoder norms stay: selection compares features whose norms differ"
        if note not in notes:
            notes.append(note)
    elif "decoder norms folded" not in notes:
        notes.append("decoder norms folded")
    return folded


def _scales(
    dictionary: Dictionary, read: tuple[float, ...], written: tuple[float, ...]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    read = read or (1.0,) * len(dictionary.sites)
    written = written or (read if dictionary.target is None else (1.0,))
    for scales, sources in ((read, dictionary.sites), (written, dictionary.targets)):
        if len(scales) != len(sources) or not min(scales) > 0:
            raise UserError(f"scales of {', '.join(sources)}", expected="one above 0 for each", got=_text(scales))
    return read, written


def _text(scales: Any) -> str:
    return ", ".join(f"{scale:.8g}" for scale in scales)
