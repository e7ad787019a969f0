"""From the tensors of training to a dictionary that reads rows as they are, and back.

1. scores are π, of a crosscoder π × mean decoder norm; there the norms are folded first, so that codes compare as they
   did in training.
2. `batchtopk` becomes `jumprelu`: θ is the largest score that k·n of those of n training rows exceed.
3. Scales a are folded: with one target codes are in its own units (E·a_in/a_out, b and θ / a_out, c / a_in, g / a_out,
   S·a_in/a_out); with several E takes a_in and D 1/a_out, and decoder norms are folded again where σ allows it.
4. Of transcoders and crosscoders c is folded into b (a gated one has no b, and keeps c).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import Tensor

from radiograph.core.shapes import Float
from radiograph.dictionaries._dictionary import Dictionary
from radiograph.dictionaries._metadata import Metadata
from radiograph.dictionaries.activations import activation
from radiograph.dictionaries.training._config import TrainingConfig
from radiograph.dictionaries.training._rows import Batch, Layout
from radiograph.dictionaries.training._weights import Weights


def finished(
    weights: Weights, layout: Layout, config: TrainingConfig, threshold: float, metadata: Metadata
) -> Dictionary:
    """The dictionary of unscaled rows. `threshold` is what `batchtopk` compares scores with; the others ignore it."""
    scaled = _scaled(weights, layout, config, threshold)
    if scaled.selection == "decoder_norm":
        scaled = scaled.folded()
    dictionary = replace(_unscaled(scaled, layout), metadata=metadata)
    if dictionary.kind == "crosscoder":
        dictionary = dictionary.folded()
    if dictionary.kind == "sae" or config.activation == "gated":
        return dictionary
    shift = dictionary.encoder @ dictionary.input_bias
    return replace(
        dictionary,
        encoder_bias=dictionary.encoder_bias - shift,
        input_bias=torch.zeros_like(dictionary.input_bias),
    )


def in_training(dictionary: Dictionary, layout: Layout, *, tied: bool) -> dict[str, Tensor]:
    """Tensors of a dictionary in the scale of training. `tied`: c becomes g, and b takes up the difference."""
    where = layout.places
    read = _columns(dictionary.input_bias, [layout.scales[s] for s in where.inputs], where.input_widths)
    written = _columns(dictionary.decoder_bias, [layout.scales[s] for s in where.targets], where.target_widths)
    unit = 1.0 if where.kind == "crosscoder" else layout.scales[where.targets[0]]
    bias = dictionary.encoder_bias
    if tied:
        bias = bias + dictionary.encoder @ (dictionary.decoder_bias - dictionary.input_bias)
    found = {
        "encoder": dictionary.encoder * (unit / read),
        "decoder": dictionary.decoder * (written / unit),
        "encoder_bias": bias * unit,
        "input_bias": (dictionary.decoder_bias if tied else dictionary.input_bias) * read,
        "decoder_bias": dictionary.decoder_bias * written,
        **{n: p if n == "magnitude_log_scale" else p * unit for n, p in dictionary.parameters.items()},
    }
    return found if dictionary.skip is None else found | {"skip": dictionary.skip * (written.unsqueeze(1) / read)}


def calibrated(weights: Weights, layout: Layout, config: TrainingConfig, batches: Iterable[Batch], rows: int) -> float:
    """The θ at which `batchtopk` has a mean L0 of k on the `rows` rows of the batches; 0 if it never reaches that."""
    untuned = _scaled(weights, layout, config, 0.0)
    factors = untuned.selection_weights
    wanted = round(config.active * rows)
    best, bound = weights.encoder.new_empty(0), 0.0
    for batch in batches:
        for part in untuned.chunks(batch.inputs):
            scores = untuned.preactivations(part)
            scores = (scores if factors is None else scores * factors).flatten()
            best = torch.cat([best, scores[scores > bound]])
            if len(best) > 2 * wanted + 2:
                best = best.topk(wanted + 1).values
                bound = float(best[-1])
    return float(best.topk(wanted + 1).values[-1]) if len(best) > wanted else 0.0


def _scaled(weights: Weights, layout: Layout, config: TrainingConfig, threshold: float) -> Dictionary:
    """The dictionary of scaled rows."""
    where = layout.places
    copy = weights.map(torch.clone)
    parameters = copy.parameters
    name, constants = config.activation, {}
    if config.activation == "topk":
        constants = {"k": int(config.active)}
    elif config.activation == "batchtopk":
        name, parameters = "jumprelu", {"threshold": torch.full_like(copy.encoder_bias, threshold)}
    return Dictionary(
        encoder=copy.encoder,
        decoder=copy.decoder,
        encoder_bias=copy.encoder_bias,
        input_bias=copy.input_bias,
        decoder_bias=copy.decoder_bias.clone(),
        activation=activation(name, constants),
        sites=where.sites,
        parameters=parameters,
        kind=where.kind,
        target=where.target,
        widths=where.input_widths,
        skip=copy.skip,
        selection="decoder_norm" if where.kind == "crosscoder" else "value",
    )


def _unscaled(scaled: Dictionary, layout: Layout) -> Dictionary:
    where = layout.places
    read = _columns(scaled.input_bias, [layout.scales[s] for s in where.inputs], where.input_widths)
    written = _columns(scaled.decoder_bias, [layout.scales[s] for s in where.targets], where.target_widths)
    unit = 1.0 if where.kind == "crosscoder" else layout.scales[where.targets[0]]
    parameters = {n: p if n == "magnitude_log_scale" else p / unit for n, p in scaled.parameters.items()}
    return replace(
        scaled,
        encoder=scaled.encoder * (read / unit),
        encoder_bias=scaled.encoder_bias / unit,
        input_bias=scaled.input_bias / read,
        decoder=scaled.decoder * (unit / written),
        decoder_bias=scaled.decoder_bias / written,
        skip=None if scaled.skip is None else scaled.skip * (read / written.unsqueeze(1)),
        parameters=parameters,
    )


def _columns(like: Float[Tensor, " width"], scales: list[float], widths: tuple[int, ...]) -> Float[Tensor, " width"]:
    """Each source's scale in its columns."""
    return torch.cat([like.new_full((width,), scale) for scale, width in zip(scales, widths, strict=True)])
