"""Sparse codes and their products: exact top-k, gather-sum, sampled products, scatter products.

1. `top_k`: the k largest of every row, exactly. Wide rows go in two stages: the maxima of groups of 32, the k best
   groups, then the k best inside them. Every one of the k largest lies in such a group: an entry of another group is
   beaten by k group maxima. Equal values go to the lower index, so the answer depends on the row alone.
2. `gather_sum`: sum of value × table row over the entries of each row (a decoder).
3. `sampled_products`: the entries of rows @ table.T that are asked for (the gradient of the values).
4. `by_feature(...).product`: codes.T @ rows (the gradient of the table), entries sorted by feature.
None forms a [row, feature] product or keeps a [row · k, width] gather: the scratch of 3 is bounded by `SCRATCH_BYTES`.
Sums run in a fixed order, so results do not depend on the thread count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import embedding_bag

from radiograph.core.codec import Codes

GROUP: Final = 32
SCRATCH_BYTES: Final = 4 * 2**20


def top_k(scores: Float[Tensor, "row feature"], k: int) -> tuple[Float[Tensor, "row k"], Int[Tensor, "row k"]]:
    """Values and ascending indices of the k largest entries of each row; ties go to the lower index."""
    rows, size = scores.shape
    if size % GROUP or size < 4 * k * GROUP:
        return _largest(scores, k)
    grouped = scores.reshape(rows, size // GROUP, GROUP)
    _, groups = _largest(grouped.amax(2), k)
    candidates = grouped.gather(1, groups.unsqueeze(2).expand(rows, k, GROUP)).flatten(1)
    values, place = _largest(candidates, k)
    return values, groups.gather(1, place // GROUP) * GROUP + place % GROUP


def _largest(scores: Float[Tensor, "row feature"], k: int) -> tuple[Float[Tensor, "row k"], Int[Tensor, "row k"]]:
    values, indices = scores.topk(k, dim=1)
    # topk picks freely among entries equal to the k-th; only such rows pay for a stable sort.
    tied = (scores >= values[:, -1:]).sum(1) > k
    if bool(tied.any()):
        indices[tied] = scores[tied].sort(dim=1, descending=True, stable=True).indices[:, :k]
    indices = indices.sort(dim=1).values
    return scores.gather(1, indices), indices


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
    rows: Float[Tensor, "row width"], table: Float[Tensor, "feature width"], indices: Int[Tensor, "row k"]
) -> Float[Tensor, "row k"]:
    """⟨rows[r], table[indices[r, j]]⟩ for every r and j."""
    count, k = indices.shape
    out = rows.new_empty(count, k)
    step = max(1, SCRATCH_BYTES // (k * rows.shape[1] * rows.element_size()))
    for start in range(0, count, step):
        part = slice(start, start + step)
        out[part] = torch.bmm(table[indices[part]], rows[part].unsqueeze(2)).squeeze(2)
    return out


@dataclass(frozen=True, slots=True, eq=False)
class ByFeature:
    """The entries of a [row, k] index table sorted by feature; made once, used for every product of a step."""

    order: Int[Tensor, " entry"]
    rows: Int[Tensor, " entry"]
    offsets: Int[Tensor, " offset"]

    def product(
        self, values: Float[Tensor, "row k"], rows: Float[Tensor, "row width"]
    ) -> Float[Tensor, "feature width"]:
        """Σ_r value[r, j] × rows[r] over the entries of each feature."""
        return gather_sum(self.rows, values.flatten()[self.order], rows, self.offsets)

    def sum(self, values: Float[Tensor, "row k"]) -> Float[Tensor, " feature"]:
        """Σ value over the entries of each feature."""
        ones = values.new_ones(values.shape[0], 1)
        return self.product(values, ones).squeeze(1)


def by_feature(indices: Int[Tensor, "row k"], size: int) -> ByFeature:
    """Sort the entries of a [row, k] index table by feature, rows ascending inside each."""
    flat = indices.flatten()
    order = flat.argsort(stable=True)
    counts = torch.bincount(flat, minlength=size)
    offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return ByFeature(order, order // indices.shape[1], offsets)


def codes_of(values: Float[Tensor, "row k"], indices: Int[Tensor, "row k"], size: int) -> Codes:
    """Codes from a table of equally long rows with ascending indices; zeros are left out."""
    kept = values != 0
    return Codes(indices[kept], values[kept], _offsets(kept.sum(1)), size)


def codes_of_dense(values: Float[Tensor, "row feature"]) -> Codes:
    """Codes from a dense table; zeros are left out."""
    kept = values != 0
    return Codes(kept.nonzero()[:, 1], values[kept], _offsets(kept.sum(1)), values.shape[1])


def dense(codes: Codes) -> Float[Tensor, "row feature"]:
    """The dense table of codes. For small cases and tests: [row, feature] memory."""
    out = codes.values.new_zeros(codes.n_rows, codes.size)
    out[codes.rows, codes.indices] = codes.values
    return out


def concatenate(parts: list[Codes]) -> Codes:
    """The rows of several codes of the same features, one after the other."""
    offsets = _offsets(torch.cat([part.active for part in parts]))
    indices = torch.cat([part.indices for part in parts])
    return Codes(indices, torch.cat([part.values for part in parts]), offsets, parts[0].size)


def _offsets(counts: Int[Tensor, " row"]) -> Int[Tensor, " offset"]:
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])
