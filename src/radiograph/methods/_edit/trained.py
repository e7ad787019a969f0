"""Differences of chosen parts, trained on top of the model's own untouched products.

output = model(x) + x (V δU + δV U + δV δU), δU and δV of the chosen parts alone, both 0 at the start: at step 0 every
bit is the model's. Nothing of the model is a parameter, so neither weight decay nor momentum can move it, and the edit
is read off as 1 or 2 directions a part. On an error the model is as before: it never changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from radiograph.core import Context, UserError
from radiograph.evidence.edits import StepLoss
from radiograph.methods._edit.searched import Side, divergence
from radiograph.models.lowrank import Factors, added

if TYPE_CHECKING:
    from torch import Tensor

    from radiograph.core.components import Component
    from radiograph.methods._edit.parts import Parts

Trained = Literal["U", "V", "both"]
Objective = Literal["ce", "kl", "contrast"]


@dataclass(frozen=True, eq=False)
class Differences:
    """δV [input, part] and δU [part, output] of one weight, beside the V and U that they are differences of."""

    reads: Tensor
    writes: Tensor
    more_reads: Tensor
    more_writes: Tensor
    side: Trained

    def factors(self) -> Factors:
        """V δU + δV U + δV δU: one direction a part, or with both sides two."""
        import torch

        if self.side == "U":
            return Factors(self.reads, self.more_writes)
        if self.side == "V":
            return Factors(self.more_reads, self.writes)
        return Factors(
            torch.cat([self.reads + self.more_reads, self.more_reads], dim=1),
            torch.cat([self.more_writes, self.writes]),
        )


@dataclass(eq=False)
class Trainer:
    """The differences of chosen parts and their optimiser."""

    parts: Parts
    chosen: Sequence[Component]
    side: Trained
    rate: float
    held: dict[str, Differences] = field(default_factory=dict)

    def __post_init__(self) -> None:

        import torch

        for address in dict.fromkeys(c.weight for c in self.chosen):
            index = [c.index for c in self.chosen if c.weight == address]
            own = self.parts.factors[address]
            reads, writes = own.reads[:, index].detach(), own.writes[index].detach()
            self.held[address] = Differences(
                reads,
                writes,
                torch.zeros_like(reads, requires_grad=self.side != "U"),
                torch.zeros_like(writes, requires_grad=self.side != "V"),
                self.side,
            )
        self.own = [t for d in self.held.values() for t in (d.more_reads, d.more_writes) if t.requires_grad]
        self.optimiser = torch.optim.AdamW(self.own, lr=self.rate, weight_decay=0.0)

    def step(self, loss: Tensor) -> None:
        """One step of the differences; nothing else gets so much as a gradient."""
        import torch

        for tensor, slope in zip(self.own, torch.autograd.grad(loss, self.own), strict=True):
            tensor.grad = slope
        self.optimiser.step()

    def additions(self, *, detached: bool = False) -> dict[str, Factors]:
        """What is added now."""
        found = {address: own.factors() for address, own in self.held.items()}
        if not detached:
            return found
        return {a: Factors(f.reads.detach().clone(), f.writes.detach().clone()) for a, f in found.items()}

    def nats(self, sides: Sequence[Side], sign: float = 1.0) -> Tensor:
        """Mean over the positions that count."""
        import torch

        total, n = torch.zeros(()), 0
        for side in sides:
            with added(self.parts.target, self.additions()):
                found = self.parts.target.run(side.batch.ids).float().log_softmax(-1)
            total = total + sign * divergence(found, side).sum()
            n += int(side.batch.predicts.sum())
        return total / max(n, 1)


def train(
    ctx: Context,
    trainer: Trainer,
    objective: Objective,
    own: Sequence[Side],
    foils: Sequence[Side],
    keep: Sequence[Side],
    *,
    steps: int,
    keep_weight: float,
) -> list[StepLoss]:
    """Minimise the objective; `own` and `foils` without wanted logits for `ce` and `contrast`.

    Raises:
        UserError: a loss that is not finite, with its step.
    """
    import torch

    found: list[StepLoss] = []
    with ctx.progress.task("training", steps) as task:
        for step in range(steps + 1):
            aim = trainer.nats(own, 1.0 if objective == "kl" else -1.0)
            if objective == "contrast":
                # The completion is what is there already: it is the foil that is wanted.
                aim = trainer.nats(foils, -1.0) - trainer.nats(own, -1.0)
            kept = trainer.nats(keep) if keep else None
            loss = aim if kept is None else aim + keep_weight * kept
            if not bool(torch.isfinite(loss)):
                raise UserError(
                    f"the loss is not finite at step {step}", where="--lr", fix="a smaller --lr", code="not_finite"
                )
            said = [None if own is None else float(own.detach()) for own in (loss, aim, kept)]
            found.append(StepLoss(step=step, loss=said[0] or 0.0, objective=said[1] or 0.0, keep=said[2]))
            if step == steps:
                break
            trainer.step(loss)
            task.advance(1)
            task.note(f"loss {said[0]:.3g}")
    return found
