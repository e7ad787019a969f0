"""What a row gradient is made of: inputs and output gradients of linear maps, from one forward and one backward.

The gradient of a row's loss by a matrix is Σ over its tokens of δ xᵀ, so both are kept for all rows of a batch and no
row is differentiated alone. Weights are frozen: the backward pass makes no gradient of them. Rows of padding follow
the tokens that are read, and have δ = 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from radiograph.core import Site, UserError
from radiograph.core.shapes import Float, Int
from radiograph.models._batching import Batch
from radiograph.models._hooks import reading, running, tracking
from radiograph.models._model import LanguageModel
from radiograph.models.gradients._matrices import Tracked


@dataclass(frozen=True, eq=False)
class Edges:
    """Of one batch: inputs and output gradients of each matrix in order, and the loss of every token."""

    inputs: list[Float[Tensor, "row token _"]]
    deltas: list[Float[Tensor, "row token _"]]
    losses: Float[Tensor, "row _"]
    """Weighted, in nats; of the token at its own position, 0 at the first. Of a reading: minus it, one a row."""


Value = Callable[[Float[Tensor, "row token width"]], Float[Tensor, " row"]]
"""What is read of each row's activations at a site."""


class Edged:
    """Gives `Edges` of batches of one model while its context is open."""

    def __init__(
        self, model: LanguageModel, matrices: Sequence[Tracked], found: dict[str, tuple[Tensor, Tensor]]
    ) -> None:
        self.model, self.matrices, self._found = model, tuple(matrices), found

    def __call__(
        self,
        batch: Batch,
        weights: Float[Tensor, "row token"],
        drawn: Float[Tensor, "row token"] | None = None,
    ) -> Edges:
        """Run a batch.

        Args:
            batch: rows, padded on the right.
            weights: of each token in its row's loss; that of the first token is not read.
            drawn: uniform numbers; given, every weighted token is replaced by a draw from the model before its loss is
                taken (Fisher), else it is the data's own.

        A value that is not finite is not looked for here, see `check`.
        """
        batch, weights = batch.to(self.model.device), weights.to(self.model.device)
        self._found.clear()
        with torch.enable_grad(), running(batch):
            logits = self.model.model(**batch.inputs(), use_cache=False).logits[:, :-1].float()
            labels = batch.ids[:, 1:] if drawn is None else _sampled(logits, drawn[:, 1:].to(logits.device))
            nats = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none")
            losses = nats * weights[:, 1:]
            return self._edges(losses, torch.nn.functional.pad(losses.detach(), (1, 0)))

    def read(self, batch: Batch, site: Site, value: Value) -> Edges:
        """Run a batch, with minus what is read at a site in the place of the loss.

        Raises:
            UserError: none of the matrices lies before the site.
        """
        batch = batch.to(self.model.device)
        self._found.clear()
        with torch.enable_grad(), reading(self.model, [site]) as found, running(batch):
            self.model.model(**batch.inputs(), use_cache=False)
            losses = -value(found[site].float())[:, None]
            if not losses.requires_grad:
                raise UserError(
                    f"nothing that is read at {site} depends on these matrices",
                    expected="a matrix before the site",
                    got=", ".join(m.name for m in self.matrices[:5]),
                    fix="give others with --weights",
                    code="no_matrix_before",
                )
            return self._edges(losses, losses.detach())

    def _edges(self, losses: Tensor, told: Tensor) -> Edges:
        outputs = [self._found[module][1] for module in dict.fromkeys(m.module for m in self.matrices)]
        gradients = torch.autograd.grad(losses.sum(), outputs, allow_unused=True)
        by_module = dict(zip(dict.fromkeys(m.module for m in self.matrices), gradients, strict=True))
        inputs: list[Tensor] = []
        deltas: list[Tensor] = []
        for matrix in self.matrices:
            own, output = self._found[matrix.module]
            gradient = by_module[matrix.module]
            inputs.append(own)
            deltas.append(_part(torch.zeros_like(output) if gradient is None else gradient, matrix))
        self._found.clear()
        return Edges(inputs, deltas, told)

    def check(self, found: Edges, batch: Batch) -> None:
        """Stop at the first loss or gradient that is not finite; for a caller that has seen that one is not.

        Raises:
            UserError: its matrix, row and position.
        """
        _check(found.losses, found.deltas, batch, self.matrices)


@contextmanager
def edges(model: LanguageModel, matrices: Sequence[Tracked]) -> Iterator[Edged]:
    """Hooks for as long as the context is open; see `Edged`."""
    modules = list(dict.fromkeys(m.module for m in matrices))
    with model.session(), tracking(model, modules) as found:
        yield Edged(model, matrices, found)


def _part(delta: Tensor, matrix: Tracked) -> Tensor:
    """The columns of an output gradient that belong to one matrix of a joint projection."""
    if matrix.whole:
        return delta
    grouped = delta.reshape(*delta.shape[:2], matrix.groups, -1)[..., matrix.start : matrix.stop]
    return grouped.flatten(2)


def _sampled(
    logits: Float[Tensor, "row token vocabulary"], drawn: Float[Tensor, "row token"]
) -> Int[Tensor, "row token"]:
    """One token of each distribution, by inverting its cumulative sum."""
    with torch.no_grad():
        heaped = logits.detach().double().softmax(-1).cumsum(-1)
        found = torch.searchsorted(heaped, drawn.double()[..., None] * heaped[..., -1:])
        return found[..., 0].clamp(max=logits.shape[-1] - 1)


def _check(losses: Tensor, deltas: Sequence[Tensor], batch: Batch, matrices: Sequence[Tracked]) -> None:
    """Stop at the first loss or gradient that is not finite."""
    parts = [("loss", losses), *((m.name, d) for m, d in zip(matrices, deltas, strict=True))]
    for name, values in parts:
        bad = ~torch.isfinite(values)
        if bool(bad.any()):
            row, position = (int(i) for i in bad.nonzero()[0][:2])
            raise UserError(
                "a loss is not finite" if name == "loss" else f"the gradient of {name} is not finite",
                where=f"row {batch.rows[row]}, position {position}",
                code="non_finite",
            )
