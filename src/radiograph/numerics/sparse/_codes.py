"""Codes from tables, and tables from codes."""

from __future__ import annotations

import torch
from torch import Tensor

from radiograph.core.codec import Codes
from radiograph.core.shapes import Float, Int


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
