"""One batch: chunk by chunk through the activation, then the products that need all entries."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from radiograph.core.shapes import Bool, Float, Int
from radiograph.dictionaries.training._losses import Objective, add_length_gradient, selection_weights
from radiograph.dictionaries.training._step import _auxiliary, _dense, _sparse
from radiograph.dictionaries.training._step._buffers import Buffers
from radiograph.dictionaries.training._step._output import Output
from radiograph.dictionaries.training._step._rules import l0_slope, per_feature
from radiograph.dictionaries.training._step._select import chunks
from radiograph.dictionaries.training._step._sums import Sums
from radiograph.dictionaries.training._weights import Weights


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


@torch.no_grad()
def step(
    inputs: Float[Tensor, "row width"],
    targets: Float[Tensor, "row target"],
    weights: Weights,
    objective: Objective,
    *,
    dead: Int[Tensor, " dead"],
    buffers: Buffers | None = None,
) -> Step:
    """Losses and gradients on a batch of scaled rows; `dead` lists the dead features, ascending.

    Non-finite rows give non-finite losses, not an error: the caller knows where the rows come from.
    """
    buffers = buffers or Buffers()
    centred = inputs - weights.input_bias
    features = per_feature(weights, objective, selection_weights(weights, objective))
    base = targets - weights.decoder_bias
    if weights.skip is not None:
        base.addmm_(inputs, weights.skip.T, alpha=-1)
    output = Output(base, objective, len(weights.decoder))
    sums = Sums(weights, centred, output, objective, features, buffers)
    silent = _auxiliary.wanted(dead, objective, weights)
    dead_entries: list[_auxiliary.Silent] = []
    for chunk in chunks(centred, weights, objective, features, silent, buffers):
        if chunk.entries is None:
            _dense.add(sums, chunk)
        else:
            _sparse.add(sums, chunk.rows, chunk.entries)
        if chunk.silent is not None:
            dead_entries.append((chunk.rows, chunk.silent))
    _sparse.multiply(sums)
    auxiliary = _auxiliary.add(sums, dead_entries, silent, objective) if silent is not None else 0.0
    bound = buffers.bound if objective.activation == "batchtopk" else 0.0
    return _finish(sums, inputs, objective, auxiliary, bound)


def _finish(
    sums: Sums, inputs: Float[Tensor, "row width"], objective: Objective, auxiliary: float, bound: float
) -> Step:
    """Gradients of what is not a matrix of features, and the report."""
    weights, rows = sums.weights, len(inputs)
    active = sums.active / rows
    losses = {
        "reconstruction": sums.output.loss,
        "sparsity": 0.0,
        "auxiliary": auxiliary,
        "gate": sums.output.gate_loss,
    }
    parameters = {name: sums.of(name) for name in weights.parameters}
    if objective.penalises_length:
        mass = sums.of("mass") * (objective.sparsity / rows)
        losses["sparsity"] = float(mass.double() @ sums.features["length"].double())
        add_length_gradient(sums.decoder, mass, weights, objective)
    if objective.activation == "jumprelu":
        losses["sparsity"], factor = l0_slope(active, rows, objective)
        parameters["threshold"] = parameters["threshold"] + factor * sums.of("window")
    pre = sums.of("pre")
    through_encoder = -pre @ weights.encoder
    written = sums.output.total.sum(0)
    input_bias = through_encoder + written if weights.tied else through_encoder
    gradients = Weights(
        sums.encoder,
        sums.decoder,
        torch.zeros_like(pre) if objective.activation == "gated" else pre,
        input_bias,
        input_bias if weights.tied else written,
        None if weights.skip is None else sums.output.total.T @ inputs,
        parameters,
    )
    return Step(losses, gradients, sums.fired, active, bound)
