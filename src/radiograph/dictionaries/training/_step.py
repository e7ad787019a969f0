"""Loss and gradients of one batch, without a dense decoder product.

    u = x − c    π = u Eᵀ + b    z = top-k of max(π, 0)    ŷ = z D + g + S x    e = y − ŷ

1. Rows go in chunks whose pre-activations fit one reused buffer: a GEMM, then exact top-k (and top-k among the dead).
2. ŷ by gather-sum.   3. R and its gradient, `_losses`.
4. Auxiliary loss (Gao et al. 2024): (weight · min(n_dead / (d/2), 1)) · Σ‖e − ê‖² / Σ‖e − mean e‖², e held fixed, ê the
   decoding *without bias* of the min(d/2, n_dead) largest positive dead features; 0 where that ratio is not finite.
5. Gradients: dz by products with the gathered decoder rows alone; dD and dE as sums over entries sorted by feature;
   dc = −(Σ_rows dπ) E.
Neither [batch, F] nor [batch · k, d] is ever allocated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from radiograph.dictionaries.training._losses import Objective
from radiograph.dictionaries.training._weights import Weights
from radiograph.numerics.sparse import by_feature, gather_sum, sampled_products, top_k

BUFFER_BYTES: Final = 32 * 2**20


class Buffers:
    """Memory that one step leaves to the next: gradients and pre-activations."""


@dataclass(frozen=True, slots=True, eq=False)
class Entries:
    """Codes of equally many entries per row; an entry with value 0 is absent."""

    values: Float[Tensor, "row k"]
    indices: Int[Tensor, "row k"]


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """What one batch says."""

    losses: dict[str, float]
    """`reconstruction`, `sparsity`, `auxiliary`, `gate`; weights included, 0 where a term does not apply."""
    gradients: Weights
    """Of the sum of the losses. Lives in the buffers: valid until the next step that is given them."""
    fired: Bool[Tensor, " feature"]
    active: float
    """Mean L0."""
    bound: float
    """batchtopk: the least selected score of the batch; 0 elsewhere."""


def step(
    inputs: Float[Tensor, "row width"],
    targets: Float[Tensor, "row target"],
    weights: Weights,
    objective: Objective,
    *,
    dead: Int[Tensor, " dead"],
    buffers: Buffers | None = None,
) -> Step:
    """Losses and gradients on a batch of scaled rows; `dead` lists the dead features."""
    assert objective.activation == "topk"
    size, width = weights.decoder.shape
    centred = inputs - weights.input_bias
    codes, silent = _select(centred, weights, objective.k, width, dead)
    residual = targets - weights.decoder_bias - gather_sum(codes.indices, codes.values, weights.decoder)
    if weights.skip is not None:
        residual.addmm_(inputs, weights.skip.T, alpha=-1)
    output = residual * (objective.column_weights * (-2 / len(inputs)))
    gradients = _gradients(codes, output, centred, weights)
    gradients.decoder_bias.add_(output.sum(0))
    if weights.skip is not None:
        gradients.skip = output.T @ inputs
    auxiliary = 0.0
    if silent is not None and objective.auxiliary > 0:
        share = objective.auxiliary * min(len(dead) / max(1, width // 2), 1.0)
        auxiliary = _add_auxiliary(gradients, silent, residual, centred, weights, share)
    fired = torch.zeros(size, dtype=torch.bool, device=inputs.device)
    fired[codes.indices[codes.values > 0]] = True
    loss = float((residual.double().square() @ objective.column_weights.double()).sum()) / len(inputs)
    losses = {"reconstruction": loss, "sparsity": 0.0, "auxiliary": auxiliary, "gate": 0.0}
    return Step(losses, gradients, fired, float((codes.values > 0).sum()) / len(inputs), 0.0)


def _select(
    centred: Float[Tensor, "row width"], weights: Weights, k: int, width: int, dead: Int[Tensor, " dead"]
) -> tuple[Entries, Entries | None]:
    """The k best of all features per row, and the best of the dead ones where there are any."""
    size = weights.encoder.shape[0]
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
    codes: Entries, output: Float[Tensor, "row target"], centred: Float[Tensor, "row width"], weights: Weights
) -> Weights:
    """Gradients through the codes, given that of what they decode to; the input bias only through the encoder."""
    entries = by_feature(codes.indices, weights.decoder.shape[0])
    pre = sampled_products(output, weights.decoder, codes.indices) * (codes.values > 0)
    bias = entries.sum(pre)
    input_bias = -bias @ weights.encoder
    decoder_bias = input_bias if weights.tied else torch.zeros_like(weights.decoder_bias)
    return Weights(entries.product(pre, centred), entries.product(codes.values, output), bias, input_bias, decoder_bias)


def _add_auxiliary(
    gradients: Weights,
    codes: Entries,
    residual: Float[Tensor, "row target"],
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
    more = _gradients(codes, left * (2 * share / total), centred, weights).tensors
    for name, extra in more.items():
        gradients.tensors[name].add_(extra)
    return loss
