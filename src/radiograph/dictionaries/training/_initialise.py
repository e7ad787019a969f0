"""Where training starts.

1. scale a: mean ‖a·x − mean‖² = d over the training rows.   2. decoder bias g: geometric median of a·x over
`MEDIAN_ROWS` rows (Weiszfeld; distances floored at 1e-6 of their median, so a row at the guess cannot divide by zero);
the input bias is the same tensor.   3. decoder D: random unit rows.   4. encoder E = D, then scaled so that the mean
norm of the first reconstruction, without bias, is that of the input.   5. encoder bias 0.
Refuses a site whose rows do not vary.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor

from radiograph.core import UserError
from radiograph.numerics.sparse import gather_sum, top_k

MEDIAN_ROWS: Final = 32_768
WEISZFELD_STEPS: Final = 100
WEISZFELD_TOLERANCE: Final = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """The tensors that training moves. Input and decoder bias of an autoencoder are one tensor, `bias`."""

    encoder: Float[Tensor, "feature width"]
    decoder: Float[Tensor, "feature width"]
    encoder_bias: Float[Tensor, " feature"]
    bias: Float[Tensor, " width"]

    def __iter__(self):  # noqa: ANN204
        """Encoder, decoder, encoder bias, bias."""
        return iter((self.encoder, self.decoder, self.encoder_bias, self.bias))


def scale_of(variance: float, width: int, site: str) -> float:
    """The factor that brings the mean squared distance from the mean to `width`.

    Raises:
        UserError: the rows do not vary, or one is not finite.
    """
    if not isfinite(variance):
        raise UserError(f"a row of {site} is not finite", got=f"variance {variance}", code="not_finite")
    if not variance > 0:
        raise UserError(f"the rows of {site} do not vary", expected="a variance above 0", got=f"{variance:g}")
    return (width / variance) ** 0.5


def initial_weights(sample: Float[Tensor, "row width"], size: int, k: int, generator: torch.Generator) -> Weights:
    """Weights for scaled rows, of which `sample` is a random part."""
    bias = geometric_median(sample)
    decoder = torch.randn(size, sample.shape[1], generator=generator, dtype=sample.dtype)
    decoder /= decoder.norm(dim=1, keepdim=True)
    centred = sample[: max(1, min(len(sample), 4096))] - bias
    values, indices = top_k(centred @ decoder.T, k)
    written = gather_sum(indices, values.clamp_min(0), decoder).norm(dim=1).mean()
    encoder = decoder * (centred.norm(dim=1).mean() / written)
    return Weights(encoder, decoder, decoder.new_zeros(size), bias)


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
