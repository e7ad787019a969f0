"""Loss and gradients of one top-k step, without a dense decoder product.

    u = x − c    π = u Eᵀ + b    z = top-k of max(π, 0)    x̂ = z D + c    e = x − x̂

1. Rows go in chunks whose pre-activations fit one reused buffer: a GEMM, then exact top-k (and top-k among the dead).
2. x̂ by gather-sum.   3. R = mean over rows of ‖e‖² / V, V the total variance of the input, a constant.
4. Auxiliary loss (Gao et al. 2024): (weight · min(n_dead / (d/2), 1)) · Σ‖e − ê‖² / Σ‖e − mean e‖², e held fixed, ê the
   decoding *without bias* of the min(d/2, n_dead) largest positive dead features; 0 where that ratio is not finite.
5. Gradients: dz by products with the gathered decoder rows alone; dD and dE as sums over entries sorted by feature;
   dc = Σ dx̂ − (Σ_rows dπ) E, since c stands at both ends.
Neither [batch, F] nor [batch · k, d] is ever allocated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from radiograph.dictionaries.training._initialise import Weights
from radiograph.numerics.sparse import by_feature, gather_sum, sampled_products, top_k

BUFFER_BYTES: Final = 32 * 2**20


@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """Codes of equally many entries per row; an entry with value 0 is absent."""

    values: Float[Tensor, "row k"]
    indices: Int[Tensor, "row k"]


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What one batch says."""

    loss: float
    """R."""
    auxiliary: float
    """The second term, weight included."""
    gradients: Weights
    fired: Bool[Tensor, " feature"]
    active: float
    """Mean L0."""


def step(
    rows: Float[Tensor, "row width"],
    weights: Weights,
    *,
    k: int,
    variance: float,
    dead: Int[Tensor, " dead"],
    auxiliary: float = 1 / 32,
) -> Step:
    """Loss and gradients on a batch of scaled rows; `dead` lists the dead features."""
    size, width = weights.decoder.shape
    centred = rows - weights.bias
    codes, silent = _select(centred, weights, k, dead)
    residual = centred - gather_sum(codes.indices, codes.values, weights.decoder)
    output = residual * (-2 / (len(rows) * variance))
    gradients = _gradients(codes, output, centred, weights)
    gradients.bias.add_(output.sum(0))
    aux = 0.0
    if silent is not None and auxiliary > 0:
        share = auxiliary * min(len(dead) / max(1, width // 2), 1.0)
        aux = _add_auxiliary(gradients, silent, residual, centred, weights, share)
    fired = torch.zeros(size, dtype=torch.bool, device=rows.device)
    fired[codes.indices[codes.values > 0]] = True
    loss = float(residual.double().square().sum()) / (len(rows) * variance)
    return Step(loss, aux, gradients, fired, float((codes.values > 0).sum()) / len(rows))


def _select(
    centred: Float[Tensor, "row width"], weights: Weights, k: int, dead: Int[Tensor, " dead"]
) -> tuple[Entries, Entries | None]:
    """The k best of all features per row, and the best of the dead ones where there are any."""
    size, width = weights.encoder.shape
    k_dead = min(max(1, width // 2), len(dead))
    chunk = max(1, min(len(centred), BUFFER_BYTES // (size * centred.element_size())))
    buffer = centred.new_empty(chunk, size)
    live: list[tuple[Tensor, Tensor]] = []
    silent: list[tuple[Tensor, Tensor]] = []
    for part in centred.split(chunk):
        pre = torch.addmm(weights.encoder_bias, part, weights.encoder.T, out=buffer[: len(part)])
        live.append(top_k(pre, k))
        if k_dead:
            values, place = top_k(pre[:, dead], k_dead)
            silent.append((values, dead[place]))
    return _joined(live), _joined(silent) if k_dead else None


def _joined(parts: list[tuple[Tensor, Tensor]]) -> Entries:
    values, indices = (torch.cat(column) for column in zip(*parts, strict=True))
    return Entries(values.clamp_min(0), indices)


def _gradients(
    codes: Entries, output: Float[Tensor, "row width"], centred: Float[Tensor, "row width"], weights: Weights
) -> Weights:
    """Gradients through the codes, given that of what they decode to; the bias only through the encoder."""
    rows, k = codes.indices.shape
    flat, values = codes.indices.flatten().int(), codes.values.flatten()
    entries = by_feature(flat, torch.arange(rows).repeat_interleave(k), weights.decoder.shape[0])
    offsets = torch.arange(0, rows * k + 1, k, dtype=torch.int32)
    pre = sampled_products(output, weights.decoder, flat, offsets) * (values > 0)
    bias = entries.sum(pre)
    return Weights(entries.product(pre, centred), entries.product(values, output), bias, -bias @ weights.encoder)


def _add_auxiliary(
    gradients: Weights,
    codes: Entries,
    residual: Float[Tensor, "row width"],
    centred: Float[Tensor, "row width"],
    weights: Weights,
    share: float,
) -> float:
    """Add the auxiliary gradients in place; returns the weighted loss."""
    left = gather_sum(codes.indices, codes.values, weights.decoder) - residual
    total = float((residual - residual.mean(0)).double().square().sum())
    loss = share * float(left.double().square().sum()) / total if total > 0 else float("inf")
    if not loss < float("inf"):
        return 0.0
    more = _gradients(codes, left * (2 * share / total), centred, weights)
    for gradient, extra in zip(gradients, more, strict=True):
        gradient.add_(extra)
    return loss
