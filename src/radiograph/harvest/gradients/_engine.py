"""Row gradients of one model: batches in, one vector a row out.

1. rows of like length share a batch; one forward and one backward give x and δ of every matrix (`models.gradients`)
2. a row's gradient is Σ_t δ_t x_tᵀ: one product over all rows of the batch, no loop over rows
3. two-sided projection (LoGra, Choe et al. 2024): P_o δ and P_i x before the product, so that no whole gradient is ever
   formed; a side that is a rank stays whole. Matrices that read the same tensor share its projection
4. a row's loss is the sum of its tokens' weighted nats, or their mean

Norms and products with a given v need no gradients either where T² is less than their size, but are not used here: the
product is needed anyway. Stops at a value that is not finite, with row and position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from radiograph.core import Site, derive
from radiograph.core.shapes import Float, Float32, Float64
from radiograph.models import Batch, LanguageModel, Tokens, batches
from radiograph.models.gradients import Edged, Tracked, edges
from radiograph.numerics.influence import Layout, cut, orthonormal

Reduction = Literal["sum", "mean"]
BATCH_TOKENS = 2048
Learned = tuple[tuple[int, ...], tuple[float, ...]]
"""Token ids of a row, and the weight of each in its loss."""


class Reading(Protocol):
    """What is read of rows at a site, in the place of their loss."""

    @property
    def site(self) -> Site:
        """Where."""
        ...

    def value(
        self, values: Float[Tensor, "row token width"], read: Float[Tensor, "row token"], /
    ) -> Float[Tensor, " row"]:
        """One number a row, from activations and from which tokens are read (1, else 0)."""
        ...


@dataclass(frozen=True, eq=False)
class Projection:
    """Kept sizes of the matrices, and the projections of sides by (length, kept)."""

    matrices: tuple[Tracked, ...]
    kept: tuple[tuple[int, int], ...]
    seed: int
    sides: dict[tuple[int, int], Float[Tensor, "kept side"]] = field(default_factory=dict)

    @classmethod
    def of(cls, matrices: Sequence[Tracked], entries: int | None, seed: int) -> Projection:
        """At most `entries` of a row are kept; None keeps all."""
        shapes = tuple(m.shape for m in matrices)
        kept = shapes if entries is None else cut(shapes, [m.low_rank for m in matrices], entries)
        made = cls(tuple(matrices), kept, seed)
        for shape, own in zip(shapes, kept, strict=True):
            for length, k in zip(shape, own, strict=True):
                if k < length and (length, k) not in made.sides:
                    rows = orthonormal(k, length, derive(seed, "projection", length, k))
                    made.sides[length, k] = torch.from_numpy(rows).float()
        return made

    @property
    def layout(self) -> Layout:
        """Where each matrix stands in a row."""
        return Layout(self.kept)

    @property
    def exact(self) -> bool:
        """Nothing is projected."""
        return not self.sides

    def side(self, length: int, kept: int) -> Tensor | None:
        """The projection of a side; None where it is whole."""
        return self.sides.get((length, kept)) if kept < length else None

    def projected(self, rows: Float[np.ndarray, "row whole"]) -> Float64[np.ndarray, "row entry"]:
        """Exact gradients as they are kept."""
        parts: list[np.ndarray] = []
        shapes = Layout(tuple(m.shape for m in self.matrices))
        for matrix, kept, place in zip(self.matrices, self.kept, shapes.slices(), strict=True):
            own = np.asarray(rows[:, place], dtype=np.float64).reshape(-1, *matrix.shape)
            left, right = (self.side(matrix.shape[axis], kept[axis]) for axis in (0, 1))
            own = own if left is None else left.double().numpy() @ own
            own = own if right is None else own @ right.double().numpy().T
            parts.append(own.reshape(len(rows), -1))
        return np.concatenate(parts, 1)

    def lifted(self, row: Float[np.ndarray, " entry"]) -> dict[str, Float32[np.ndarray, "output input"]]:
        """A vector of a row's form as whole matrices, by name; products with gradients stay the same."""
        out: dict[str, np.ndarray] = {}
        for matrix, kept, place in zip(self.matrices, self.kept, self.layout.slices(), strict=True):
            own = np.asarray(row[place], dtype=np.float64).reshape(kept)
            for axis in (0, 1):
                turned = self.side(matrix.shape[axis], kept[axis])
                if turned is not None:
                    p = turned.double().numpy()
                    own = p.T @ own if axis == 0 else own @ p
            out[matrix.name] = own.astype(np.float32)
        return out


@dataclass(frozen=True, eq=False)
class RowGradients:
    """Of some rows, in the order given."""

    gradient: Float32[np.ndarray, "row entry"]
    loss: Float64[np.ndarray, " row"]
    """Summed or mean nats, as the gradient's."""


@dataclass(frozen=True, eq=False)
class GradientEngine:
    """A model with hooks on its matrices; see `gradient_engine`."""

    edged: Edged
    projection: Projection
    reduction: Reduction
    batch_tokens: int = BATCH_TOKENS

    def rows(
        self,
        rows: Sequence[Learned],
        advance: Callable[[int], None] | None = None,
        reading: Reading | None = None,
    ) -> RowGradients:
        """Gradients of some rows' losses, or of minus what is read of them.

        Equal rows in equal company give equal bytes, whatever stands elsewhere.
        """
        out = np.empty((len(rows), self.projection.layout.size), dtype=np.float32)
        loss = np.empty(len(rows))
        for batch, weights in self.batched(rows):
            if reading is None:
                found = self.edged(batch, weights)
            else:
                read = tokens_read(batch, rows).to(self.edged.model.device)
                found = self.edged.read(batch, reading.site, lambda values, read=read: reading.value(values, read))
            places = list(batch.rows)
            made = self.products(found.inputs, found.deltas)
            own = found.losses.double().sum(1)
            # Sums are finite only if every term is, save for overflow: the search for the place runs only then.
            if not bool(torch.isfinite(made.sum(dtype=torch.float64) + own.sum())):
                self.edged.check(found, batch)
            out[places] = made.cpu().numpy()
            loss[places] = own.cpu().numpy()
            if advance is not None:
                advance(len(places))
        return RowGradients(out, loss)

    def batched(self, rows: Sequence[Learned]) -> Iterator[tuple[Batch, Float[Tensor, "row token"]]]:
        """Batches with the weight of each token in its row's loss."""
        tokens: Tokens = [ids for ids, _ in rows]
        for batch in batches(tokens, batch_tokens=self.batch_tokens):
            yield batch, weights_of(batch, rows, self.reduction)

    def factors(
        self, inputs: Sequence[Tensor], deltas: Sequence[Tensor]
    ) -> Iterator[tuple[Float[Tensor, "row token input"], Float[Tensor, "row token output"]]]:
        """Inputs x and output gradients δ of each matrix, projected."""
        held: dict[tuple[int, int], Tensor] = {}
        for matrix, kept, x, delta in zip(self.projection.matrices, self.projection.kept, inputs, deltas, strict=True):
            left = self.projection.side(matrix.shape[0], kept[0])
            right = self.projection.side(matrix.shape[1], kept[1])
            if right is not None:
                key = x.data_ptr(), kept[1]
                if key not in held:
                    held[key] = x.float() @ right.to(x.device).T
                x = held[key]
            if left is not None:
                delta = delta.float() @ left.to(delta.device).T
            yield x.float(), delta.float()

    def products(self, inputs: Sequence[Tensor], deltas: Sequence[Tensor]) -> Float[Tensor, "row entry"]:
        """Σ_t δ_t x_tᵀ of every row and matrix, side by side."""
        parts = [torch.bmm(d.transpose(1, 2), x).flatten(1) for x, d in self.factors(inputs, deltas)]
        return torch.cat(parts, 1)


def weights_of(batch: Batch, rows: Sequence[Learned], reduction: Reduction) -> Float[Tensor, "row token"]:
    """Weights of a batch's tokens; padding has none."""
    out = torch.zeros(batch.ids.shape)
    for place, row in enumerate(batch.rows):
        own = rows[row][1]
        out[place, : len(own)] = torch.tensor(own)
    out[:, 0] = 0.0
    if reduction == "mean":
        out /= out.sum(1, keepdim=True).clamp(min=torch.finfo(out.dtype).tiny)
    return out


def tokens_read(batch: Batch, rows: Sequence[Learned]) -> Float[Tensor, "row token"]:
    """1 at the tokens of a batch that have a weight, the first of a row too; padding has none."""
    out = torch.zeros(batch.ids.shape)
    for place, row in enumerate(batch.rows):
        own = rows[row][1]
        out[place, : len(own)] = (torch.tensor(own) > 0).float()
    return out


@contextmanager
def gradient_engine(
    model: LanguageModel,
    projection: Projection,
    *,
    reduction: Reduction = "sum",
    batch_tokens: int = BATCH_TOKENS,
) -> Iterator[GradientEngine]:
    """The engine, while its hooks are in place."""
    with edges(model, projection.matrices) as edged:
        yield GradientEngine(edged, projection, reduction, batch_tokens)
