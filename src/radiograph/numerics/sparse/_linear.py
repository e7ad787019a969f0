"""The one dense product that sparse codes need: rows times encoder, plus bias.

On CPUs that are not Intel's, MKL runs slower kernels than the processor allows (half the speed on an AMD EPYC with
AVX-512, one core at 90 of 210 GFLOP/s), while oneDNN, which torch ships too, does not mind. Which library is used
depends on the processor alone, so that a run gives the same bytes when it is resumed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor

from radiograph.core.shapes import Float


def linear(
    rows: Float[Tensor, "row width"],
    matrix: Float[Tensor, "feature width"],
    bias: Float[Tensor, " feature"],
    out: Float[Tensor, "row feature"] | None = None,
) -> Float[Tensor, "row feature"]:
    """`rows @ matrix.T + bias`, without gradient. Written to `out` by a library that can, returned in any case."""
    if fresh(rows):
        return _onednn()(rows, matrix, bias, "none", [], "")
    return torch.addmm(bias, rows, matrix.T, out=out) if out is not None else torch.addmm(bias, rows, matrix.T)


def fresh(rows: Tensor) -> bool:
    """Whether `linear` of such rows makes memory of its own, whatever `out` it is given."""
    return rows.device.type == "cpu" and rows.dtype == torch.float32 and _prefers_onednn()


@cache
def _prefers_onednn() -> bool:
    ask = getattr(torch.cpu, "get_capabilities", None)
    name = str(ask().get("cpu_name", "")) if ask is not None else ""
    return "AMD" in name and torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def _onednn() -> Callable[..., Tensor]:
    return cast(Callable[..., Tensor], cast(Any, torch.ops.mkldnn)._linear_pointwise)
