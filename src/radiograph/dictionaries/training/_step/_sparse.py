"""A chunk by its entries: decode, errors, gradients of the entries; and the two products over the whole batch."""

from __future__ import annotations

import torch
from torch import Tensor

from radiograph.core.shapes import Float, Int
from radiograph.dictionaries.training._step._rules import Back, back, gates, values
from radiograph.dictionaries.training._step._select import Entries
from radiograph.dictionaries.training._step._sums import Pending, Sums
from radiograph.numerics.sparse import by_feature, gather_sum, sampled_products


def add(sums: Sums, rows: slice, entries: Entries) -> None:
    """Losses of the rows, and the gradients of their entries kept for `multiply`."""
    count, bounds = rows.stop - rows.start, sums.output.bounds
    places, offsets = _segments(entries, count, bounds)
    local = entries.local(sums.features)
    decoder = sums.weights.decoder
    z = values(entries.pre, sums.objective, local)

    def written(held: Float[Tensor, " entry"]) -> Float[Tensor, "row segment target"]:
        if not len(entries):
            return decoder.new_zeros(count, len(bounds), decoder.shape[1])
        return gather_sum(entries.features, held, decoder, offsets).view(count, len(bounds), -1)

    d_gates: Tensor | None = None
    if sums.objective.activation == "gated":
        gradients = sums.output.add_gate(rows, written(gates(entries.pre, local)))
        d_gates = sampled_products(gradients.flatten(0, 1), decoder, entries.features, offsets)
    gradients = sums.output.add(rows, written(z))
    d_values = sampled_products(gradients.flatten(0, 1), decoder, entries.features, offsets)
    found = back(d_values, d_gates, entries.pre, z, sums.objective, local, sums.rate)
    sums.pending.append(Pending(places + rows.start * len(bounds), entries.features, z, found))
    fired = z > 0
    sums.fired[entries.features[fired]] = True
    sums.active += int(fired.sum())


def multiply(sums: Sums) -> None:
    """Over the entries of all chunks: dD = Zᵀ (gradient of what was decoded), dE = dΠᵀ u."""
    if not sums.pending:
        return
    features = torch.cat([held.features for held in sums.pending])
    by = by_feature(features, torch.cat([held.places for held in sums.pending]), len(sums.fired))
    backs = [held.back for held in sums.pending]
    whole = Back(
        torch.cat([found.pre for found in backs]),
        {name: torch.cat([found.parameters[name] for found in backs]) for name in backs[0].parameters},
    )
    z = torch.cat([held.values for held in sums.pending])
    by.product(z, sums.output.gradients.flatten(0, 1), add_to=sums.decoder)
    by.product(whole.pre, sums.centred, repeats=len(sums.output.bounds), add_to=sums.encoder)
    sums.put_entries(by, whole)


def _segments(
    entries: Entries, count: int, bounds: tuple[tuple[int, int], ...]
) -> tuple[Int[Tensor, " entry"], Int[Tensor, " offset"]]:
    """Row · segments + segment of every entry, and where each of these begins."""
    places = entries.rows
    if len(bounds) > 1:
        ends = torch.tensor([end for _, end in bounds[:-1]], device=places.device, dtype=torch.int32)
        places = places * len(bounds) + torch.bucketize(entries.features, ends, right=True)
    counts = torch.bincount(places, minlength=count * len(bounds))
    return places, torch.cat([counts.new_zeros(1), counts.cumsum(0)]).int()
