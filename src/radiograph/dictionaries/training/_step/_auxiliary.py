"""Dead features reconstruct what the live ones leave over (Gao et al. 2024).

loss = weight · min(n_dead / (d/2), 1) · Σ‖e − ê‖² / Σ‖e − mean e‖², both sums with the column weights of R; e = y − ŷ
held fixed, ê the decoding *without bias* of the min(d/2, n_dead) largest positive dead features of each row, d the
width that is written. 0 where the ratio is not finite.
"""

from __future__ import annotations

from math import isfinite

import torch
from torch import Tensor

from radiograph.core.shapes import Int
from radiograph.dictionaries.training._losses import Objective
from radiograph.dictionaries.training._step._rules import Back
from radiograph.dictionaries.training._step._select import Entries
from radiograph.dictionaries.training._step._sums import Sums
from radiograph.dictionaries.training._weights import Weights
from radiograph.numerics.sparse import by_feature, gather_sum, sampled_products

Silent = tuple[slice, Entries]


def wanted(
    dead: Int[Tensor, " dead"], objective: Objective, weights: Weights
) -> tuple[Int[Tensor, " dead"], int] | None:
    """The dead features and how many of them a row asks for; None without this loss."""
    if not len(dead) or objective.auxiliary <= 0 or objective.activation not in ("topk", "batchtopk"):
        return None
    return dead, min(max(1, weights.decoder.shape[1] // 2), len(dead))


def add(sums: Sums, parts: list[Silent], silent: tuple[Int[Tensor, " dead"], int], objective: Objective) -> float:
    """Add the gradients to those of the batch; returns the weighted loss."""
    width = sums.weights.decoder.shape[1]
    share = objective.auxiliary * min(len(silent[0]) / max(1, width // 2), 1.0)
    errors, columns = sums.output.errors, objective.column_weights.to(sums.centred)
    spread = (errors - errors.mean(0)).square_().sum(0, dtype=torch.float64)
    total = float(spread @ columns.double())
    if not (isfinite(total) and total > 0):
        return 0.0
    left = torch.cat([_left(sums, rows, entries) for rows, entries in parts])
    loss = share * float(left.square().sum(0, dtype=torch.float64) @ columns.double()) / total
    if not isfinite(loss):
        return 0.0
    gradients = left.mul_(columns * (2 * share / total))
    back = torch.cat([_back(sums, gradients[rows], entries) for rows, entries in parts])
    features = torch.cat([entries.features for _, entries in parts])
    places = torch.cat([entries.rows + rows.start for rows, entries in parts])
    by = by_feature(features, places, len(sums.fired))
    by.product(torch.cat([entries.pre.clamp_min(0) for _, entries in parts]), gradients, add_to=sums.decoder)
    by.product(back, sums.centred, add_to=sums.encoder)
    sums.put_entries(by, Back(back))
    return loss


def _left(sums: Sums, rows: slice, entries: Entries) -> Tensor:
    """ê − e."""
    decoded = gather_sum(_table(entries.features, rows), _table(entries.pre.clamp_min(0), rows), sums.weights.decoder)
    return decoded.sub_(sums.output.errors[rows])


def _back(sums: Sums, gradients: Tensor, entries: Entries) -> Tensor:
    k = len(entries) // len(gradients)
    offsets = torch.arange(0, len(entries) + 1, k, device=gradients.device, dtype=torch.int32)
    return sampled_products(gradients, sums.weights.decoder, entries.features, offsets) * (entries.pre > 0)


def _table(entries: Tensor, rows: slice) -> Tensor:
    return entries.view(rows.stop - rows.start, -1)
