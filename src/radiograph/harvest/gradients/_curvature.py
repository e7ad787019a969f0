"""EK-FAC of a model's matrices on rows: two passes, one for the factors, one for the eigenvalues.

1. A = Σ xxᵀ and S = Σ δδᵀ over the tokens of all rows, in the space that is kept   2. their eigenvectors
3. second moments of row gradients in that basis
Labels are drawn from the model, by uniform numbers that depend on the row's tokens and the seed alone, so that neither
order nor company of a row shows; `empirical` takes the data's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from radiograph.core import derive
from radiograph.core.shapes import Float, Float64
from radiograph.harvest.gradients._engine import GradientEngine, Learned
from radiograph.models import Batch
from radiograph.numerics.influence import Eigenbasis, Layout, eigenbasis, eigenvalues, ekfac_direction, ekfac_energy

Fisher = Literal["model", "empirical"]


@dataclass(frozen=True, eq=False)
class Curvature:
    """A basis and its eigenvalues for every matrix, in order."""

    layout: Layout
    bases: tuple[Eigenbasis, ...]
    values: tuple[Float64[np.ndarray, "_ _"], ...]

    def direction(self, targets: Float[np.ndarray, "target entry"]) -> Float64[np.ndarray, "target entry"]:
        """H⁻¹v of each."""
        parts = [
            ekfac_direction(basis, values, targets[:, place].reshape(len(targets), *shape)).reshape(len(targets), -1)
            for basis, values, shape, place in self._each()
        ]
        return np.concatenate(parts, 1)

    def energy(self, rows: Float[np.ndarray, "row entry"]) -> Float64[np.ndarray, " row"]:
        """⟨g, H⁻¹g⟩ of each."""
        parts = [
            ekfac_energy(basis, values, rows[:, place].reshape(len(rows), *shape))
            for basis, values, shape, place in self._each()
        ]
        return np.sum(parts, axis=0)

    def _each(self) -> Iterator[tuple[Eigenbasis, np.ndarray, tuple[int, int], slice]]:
        return zip(self.bases, self.values, self.layout.shapes, self.layout.slices(), strict=True)


def curvature(
    engine: GradientEngine,
    rows: Sequence[Learned],
    *,
    fisher: Fisher = "model",
    seed: int = 0,
    advance: Callable[[int], None] | None = None,
) -> Curvature:
    """Both passes; `advance` is told of rows, each of which is met twice."""
    layout = engine.projection.layout
    inputs = [np.zeros((i, i)) for _, i in layout.shapes]
    outputs = [np.zeros((o, o)) for o, _ in layout.shapes]
    for batch, found in _passed(engine, rows, fisher, seed):
        real = batch.mask.to(found[0][0].device)
        for number, (x, delta) in enumerate(found):
            inputs[number] += _second_moment(x * real[..., None])
            outputs[number] += _second_moment(delta)
        _tell(advance, batch)
    bases = tuple(eigenbasis(s, a) for s, a in zip(outputs, inputs, strict=True))
    values = [np.zeros(shape) for shape in layout.shapes]
    for batch, found in _passed(engine, rows, fisher, seed):
        for number, (x, delta) in enumerate(found):
            values[number] += eigenvalues(bases[number], torch.bmm(delta.transpose(1, 2), x).cpu().numpy())
        _tell(advance, batch)
    return Curvature(layout, bases, tuple(v / max(1, len(rows)) for v in values))


def _passed(
    engine: GradientEngine, rows: Sequence[Learned], fisher: Fisher, seed: int
) -> Iterator[tuple[Batch, list[tuple[Tensor, Tensor]]]]:
    for batch, weights in engine.batched(rows):
        found = engine.edged(batch, weights, None if fisher == "empirical" else _drawn(batch, rows, seed))
        if not bool(torch.isfinite(found.losses.sum())):
            engine.edged.check(found, batch)
        yield batch, list(engine.factors(found.inputs, found.deltas))


def _drawn(batch: Batch, rows: Sequence[Learned], seed: int) -> Float[Tensor, "row token"]:
    """A uniform number for each token."""
    out = torch.full(batch.ids.shape, 0.5, dtype=torch.float64)
    for place, row in enumerate(batch.rows):
        ids = rows[row][0]
        generator = np.random.Generator(np.random.Philox(key=derive(seed, "fisher", *ids)))
        out[place, : len(ids)] = torch.from_numpy(generator.random(len(ids)))
    return out


def _second_moment(values: Float[Tensor, "row token side"]) -> Float64[np.ndarray, "side side"]:
    flat = values.flatten(0, 1)
    return (flat.T @ flat).double().cpu().numpy()


def _tell(advance: Callable[[int], None] | None, batch: Batch) -> None:
    if advance is not None:
        advance(len(batch.rows))
