"""Where training starts.

1. decoder bias g: geometric median of each target over `MEDIAN_ROWS` scaled rows (Weiszfeld; distances floored at 1e-6
of their median, so a row at the guess cannot divide by zero).   2. decoder D: random unit rows, for a crosscoder the
same at all its sources (of equal width).   3. encoder E: of an autoencoder D, of a crosscoder D / sources, of a
transcoder random unit rows of its own.   4. input bias c: of an autoencoder g, and one tensor with it; of a crosscoder
g; of a transcoder 0, its encoder bias being b = −E·mean instead (gated, which has no b: the mean).   5. E is scaled so
that the mean length of the first reconstruction, without bias, is that of the centred target.   6. thresholds θ = 0.1;
gates and skip 0.
Refuses a source whose rows do not vary.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from radiograph.core.shapes import Float
from radiograph.dictionaries.activations import activation
from radiograph.dictionaries.training._config import BY_K, TrainingConfig
from radiograph.dictionaries.training._rows import Batch, Places
from radiograph.dictionaries.training._weights import Weights
from radiograph.numerics.sparse import gather_sum

MEDIAN_ROWS: Final = 32_768
SCALING_ROWS: Final = 4_096
CHUNK_ELEMENTS: Final = 2**23
WEISZFELD_STEPS: Final = 100
WEISZFELD_TOLERANCE: Final = 1e-6
THRESHOLD: Final = 0.1


def initial_weights(
    sample: Batch, where: Places, config: TrainingConfig, size: int, generator: torch.Generator
) -> Weights:
    """Weights for scaled rows, of which `sample` is a random part."""
    targets = sample.targets.split(list(where.target_widths), dim=1)
    centre = torch.cat([geometric_median(part) for part in targets])
    decoder = _directions(size, where.target_widths, generator, centre)
    bias, input_bias = centre.new_zeros(size), centre
    if where.kind == "transcoder":
        encoder = _directions(size, where.input_widths, generator, centre)
        input_bias = sample.inputs.double().mean(0).to(encoder)
    elif where.kind == "crosscoder":
        encoder, input_bias = decoder / len(where.inputs), centre.clone()
    else:
        encoder = decoder.clone()
    parameters = _parameters(config.activation, bias)
    weights = Weights(encoder, decoder, bias, input_bias, centre, None, parameters)
    few = slice(min(len(sample), SCALING_ROWS))
    written = _written(sample.inputs[few] - input_bias, weights, config)
    encoder *= float((sample.targets[few] - centre).norm(dim=1).mean()) / written if written > 0 else 1.0
    if where.kind == "transcoder" and config.activation != "gated":
        bias -= encoder @ input_bias
        input_bias.zero_()
    if config.skip:
        weights.skip = centre.new_zeros(len(centre), sample.inputs.shape[1])
    return weights


def geometric_median(rows: Float[Tensor, "row width"]) -> Float[Tensor, " width"]:
    """The point with the smallest mean distance from the rows: a centre that a few huge rows do not move."""
    guess = rows.double().mean(0).to(rows)
    for _ in range(WEISZFELD_STEPS):
        distance = (rows - guess).norm(dim=1)
        weight = 1 / distance.clamp_min(max(1e-6 * float(distance.median()), torch.finfo(rows.dtype).tiny))
        moved = (weight.double() @ rows.double() / weight.double().sum()).to(rows)
        if float((moved - guess).norm()) <= WEISZFELD_TOLERANCE * float(distance.median()):
            return moved
        guess = moved
    return guess


def _directions(size: int, widths: tuple[int, ...], generator: torch.Generator, like: Tensor) -> Tensor:
    """Random unit rows, one block a width; blocks of equal width are equal."""
    blocks: dict[int, Tensor] = {}
    for width in widths:
        if width not in blocks:
            rows = torch.randn(size, width, generator=generator, dtype=like.dtype)
            blocks[width] = rows / rows.norm(dim=1, keepdim=True)
    return torch.cat([blocks[width] for width in widths], dim=1).to(like.device)


def _parameters(name: str, bias: Tensor) -> dict[str, Tensor]:
    if name == "jumprelu":
        return {"threshold": torch.full_like(bias, THRESHOLD)}
    names = ("gate_bias", "magnitude_bias", "magnitude_log_scale") if name == "gated" else ()
    return {parameter: torch.zeros_like(bias) for parameter in names}


def _written(centred: Float[Tensor, "row width"], weights: Weights, config: TrainingConfig) -> float:
    """Mean length of the reconstruction without bias, by the activation that training starts with."""
    chosen = activation("topk", {"k": int(config.active)}) if config.activation in BY_K else activation("relu")
    total = 0.0
    for part in centred.split(max(1, CHUNK_ELEMENTS // len(weights.encoder))):
        codes = chosen.codes(part @ weights.encoder.T, {})
        total += float(gather_sum(codes.indices, codes.values, weights.decoder, codes.offsets).norm(dim=1).sum())
    return total / len(centred)
