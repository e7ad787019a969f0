"""A chunk in which so many features count that dense products are faster: the same losses and gradients."""

from __future__ import annotations

import logging

import torch
from torch import Tensor

from radiograph.core.shapes import Float
from radiograph.dictionaries.training._step._rules import back, gates, values
from radiograph.dictionaries.training._step._select import DENSE_SHARE, Chunk
from radiograph.dictionaries.training._step._sums import Sums

LOG = logging.getLogger(__name__)


def add(sums: Sums, chunk: Chunk) -> None:
    """Losses and all gradients of the rows of a chunk."""
    assert chunk.pre is not None
    _tell(sums)
    pre, rows = chunk.pre, chunk.rows
    z = values(pre, sums.objective, sums.features)
    d_gates: Tensor | None = None
    if sums.objective.activation == "gated":
        d_gates = _products(sums, sums.output.add_gate(rows, _written(sums, gates(pre, sums.features))))
    gradients = sums.output.add(rows, _written(sums, z))
    d_values = _products(sums, gradients)
    found = back(d_values, d_gates, pre, z, sums.objective, sums.features, sums.rate)
    for segment, (start, end) in enumerate(sums.output.bounds):
        sums.decoder[start:end].addmm_(z[:, start:end].T, gradients[:, segment])
    sums.encoder.addmm_(found.pre.T, sums.centred[rows])
    for name, contribution in {"pre": found.pre, **found.parameters}.items():
        sums.put(name, contribution.sum(0))
    fired = z > 0
    sums.fired |= fired.any(0)
    sums.active += int(fired.sum())


def _written(sums: Sums, held: Float[Tensor, "row feature"]) -> Float[Tensor, "row segment target"]:
    parts = [held[:, start:end] @ sums.weights.decoder[start:end] for start, end in sums.output.bounds]
    return torch.stack(parts, dim=1)


def _products(sums: Sums, gradients: Float[Tensor, "row segment target"]) -> Float[Tensor, "row feature"]:
    bounds = enumerate(sums.output.bounds)
    parts = [gradients[:, segment] @ sums.weights.decoder[start:end].T for segment, (start, end) in bounds]
    return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]


def _tell(sums: Sums) -> None:
    if not sums.buffers.told_dense:
        sums.buffers.told_dense = True
        LOG.info(
            "more than %.2g of all features count on a row: dense products until they are fewer (%s)",
            DENSE_SHARE,
            sums.objective.activation,
        )
