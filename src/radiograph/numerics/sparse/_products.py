"""Products with sparse codes: O(entries · width) work, and neither a [row, feature] nor an [entry, width] table."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from radiograph.core.shapes import Float, Int

with warnings.catch_warnings():
    # Torch says once per process that this layout is in beta; what we use of it is held by tests.
    warnings.simplefilter("ignore")
    torch.zeros(1, 1).to_sparse_csr()


def gather_sum(
    indices: Int[Tensor, "*shape"],
    values: Float[Tensor, "*shape"],
    table: Float[Tensor, "feature width"],
    offsets: Int[Tensor, " offset"] | None = None,
) -> Float[Tensor, "row width"]:
    """Σ value × table[index] per row: of equally long rows ([row, k]), or of compressed ones with their offsets."""
    if offsets is None:
        return embedding_bag(indices, table, mode="sum", per_sample_weights=values)
    return embedding_bag(indices, table, offsets, mode="sum", per_sample_weights=values, include_last_offset=True)


def sampled_products(
    rows: Float[Tensor, "row width"],
    table: Float[Tensor, "feature width"],
    indices: Int[Tensor, " entry"],
    offsets: Int[Tensor, " offset"],
) -> Float[Tensor, " entry"]:
    """⟨rows[r], table[index]⟩ for every entry of every compressed row r."""
    if not len(indices):
        return rows.new_empty(0)
    wanted = _compressed(offsets, indices, rows.new_zeros(len(indices)), (len(rows), len(table)))
    sampled = cast(Callable[..., Tensor], torch.sparse.sampled_addmm)  # pyright: ignore[reportUnknownMemberType]
    return sampled(wanted, rows, table.T, beta=0.0).values()


@dataclass(frozen=True, slots=True, eq=False)
class ByFeature:
    """Entries sorted by feature; made once, used for every product of a step."""

    order: Int[Tensor, " entry"]
    rows: Int[Tensor, " entry"]
    offsets: Int[Tensor, " offset"]

    def product(
        self,
        values: Float[Tensor, " entry"],
        rows: Float[Tensor, "row width"],
        *,
        repeats: int = 1,
        add_to: Float[Tensor, "feature width"] | None = None,
    ) -> Float[Tensor, "feature width"]:
        """Σ value × rows[entry's row // repeats] over the entries of each feature; added in place to `add_to`."""
        out = rows.new_zeros(len(self.offsets) - 1, rows.shape[1]) if add_to is None else add_to
        if not len(values):
            return out
        columns = self.rows if repeats == 1 else self.rows.div(repeats, rounding_mode="floor")
        sorted_values = values[self.order]
        if rows.device.type == "cpu" and not torch.backends.mkl.is_available():
            return out.add_(gather_sum(columns, sorted_values, rows, self.offsets))
        codes = _compressed(self.offsets, columns, sorted_values, (len(out), len(rows)))
        return torch.addmm(out, codes, rows, out=out)

    def sum(self, values: Float[Tensor, " entry"]) -> Float[Tensor, " feature"]:
        """Σ value over the entries of each feature."""
        if not len(values):
            return values.new_zeros(len(self.offsets) - 1)
        ones = values.new_ones(len(values), 1)
        places = torch.arange(len(values), device=values.device, dtype=self.offsets.dtype)
        return gather_sum(places, values[self.order], ones, self.offsets).squeeze(1)


def by_feature(indices: Int[Tensor, " entry"], rows: Int[Tensor, " entry"], size: int) -> ByFeature:
    """Sort entries, given by feature and row, by feature; their order inside each feature stays."""
    order = indices.argsort(stable=True)
    counts = torch.bincount(indices, minlength=size)
    offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return ByFeature(order, rows[order].int(), offsets.int())


def _compressed(
    offsets: Int[Tensor, " offset"],
    columns: Int[Tensor, " entry"],
    values: Float[Tensor, " entry"],
    shape: tuple[int, int],
) -> Tensor:
    make = cast(Callable[..., Tensor], torch.sparse_csr_tensor)  # pyright: ignore[reportUnknownMemberType]
    return make(offsets, columns, values, shape, check_invariants=False)
