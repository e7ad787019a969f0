"""Train a small causal model on a stream of examples: one thread, deterministic, nothing hidden.

1. Examples (token ids and a loss weight per token) are packed, first fit, into `rows` rows of `width` tokens. Attention
   is block-diagonal and positions restart, so packed examples never see each other: the loss equals that of each
   example alone, at a fraction of the padding.
2. The loss is the weighted mean of the cross-entropy of each token given those before it in its example. A weight
   scales a position's gradient; it moves no optimum, because every position has its own conditional distribution.
3. AdamW with linear warm-up and linear decay to zero; gradients clipped to norm 1.

Equal model, examples, schedule and library versions give equal bytes on one machine. Raises `UserError` on an example
longer than a row and on a loss that is not finite.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from radiograph.core import UserError
from radiograph.core.progress import Progress, Silent, Task
from radiograph.core.shapes import Bool, Float, Int


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids, and the weight of each in the loss; the first token is never predicted."""

    ids: tuple[int, ...]
    weights: tuple[float, ...]
    free: bool = False
    """A penalty of the objective leaves it alone."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """How to train. `rows` x `width` tokens are one step."""

    steps: int
    learning_rate: float = 3e-3
    rows: int = 32
    width: int = 64
    warmup: int = 100
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)

    def rate(self, step: int) -> float:
        """The learning rate of a step: up over `warmup` steps, then down to zero."""
        rise = min(1.0, (step + 1) / max(1, self.warmup))
        return self.learning_rate * rise * (1.0 - step / self.steps)


@dataclass(frozen=True, slots=True)
class Batch:
    """Packed examples; `weights` belong to the token at their own position."""

    ids: Int[Tensor, "row token"]
    positions: Int[Tensor, "row token"]
    attend: Bool[Tensor, "row 1 token token"]
    weights: Float[Tensor, "row token"]
    bound: Bool[Tensor, "row token"]
    """Tokens of examples that are not `free`."""


Objective = Callable[[nn.Module, Batch], Float[Tensor, ""]]


def pack(examples: list[list[Example]], width: int, pad: int = 0) -> Batch:
    """Lay each list of examples into one row of `width` tokens."""
    rows = len(examples)
    ids = torch.full((rows, width), pad)
    positions = torch.zeros((rows, width), dtype=torch.long)
    owner = torch.full((rows, width), -1)
    weights = torch.zeros((rows, width))
    bound = torch.zeros((rows, width), dtype=torch.bool)
    for r, row in enumerate(examples):
        start = 0
        for number, example in enumerate(row):
            end = start + len(example.ids)
            ids[r, start:end] = torch.tensor(example.ids)
            positions[r, start:end] = torch.arange(end - start)
            owner[r, start:end] = number
            weights[r, start:end] = torch.tensor(example.weights)
            weights[r, start] = 0.0
            bound[r, start:end] = not example.free
            start = end
    causal = torch.ones(width, width, dtype=torch.bool).tril()
    attend = (owner[:, :, None] == owner[:, None, :]) & causal
    return Batch(ids, positions, attend[:, None], weights, bound)


def batches(examples: Iterator[Example], rows: int, width: int) -> Iterator[Batch]:
    """Pack a stream; a batch closes at the first example that fits into none of its rows."""
    packed: list[list[Example]] = [[] for _ in range(rows)]
    room = [width] * rows
    for example in examples:
        need = len(example.ids)
        if need > width:
            raise UserError("an example is longer than a row", expected=f"at most {width} tokens", got=str(need))
        row = next((r for r in range(rows) if room[r] >= need), None)
        if row is None:
            yield pack(packed, width)
            packed, room, row = [[] for _ in range(rows)], [width] * rows, 0
        packed[row].append(example)
        room[row] -= need
    if any(packed):
        yield pack([row for row in packed if row], width)


def forward(model: nn.Module, batch: Batch, *, states: bool = False) -> Any:
    """The network's output on a packed batch; `states` with the residual stream after every block."""
    return model(
        input_ids=batch.ids,
        attention_mask=batch.attend,
        position_ids=batch.positions,
        use_cache=False,
        output_hidden_states=states,
    )


def loss(model: nn.Module, batch: Batch) -> Float[Tensor, ""]:
    """Weighted mean cross-entropy in nats per token."""
    return weighted_loss(forward(model, batch).logits, batch)


def weighted_loss(logits: Float[Tensor, "row token vocabulary"], batch: Batch) -> Float[Tensor, ""]:
    """The same, of logits. Tokens without weight are left out where they are many; else all stay, which copies less."""
    weights, targets = batch.weights[:, 1:].flatten(), batch.ids[:, 1:].flatten()
    scores = logits[:, :-1].flatten(0, 1).float()
    counted = weights > 0
    if 2 * int(counted.sum()) < len(weights):
        weights, targets, scores = weights[counted], targets[counted], scores[counted]
    losses = nn.functional.cross_entropy(scores, targets, reduction="none")
    return (losses * weights).sum() / weights.sum()


def train(
    model: nn.Module,
    examples: Iterator[Example],
    schedule: Schedule,
    progress: Progress | None = None,
    *,
    objective: Objective = loss,
) -> list[float]:
    """Train in place for `schedule.steps` batches of the stream; returns the objective of every step.

    Only parameters that require gradients move. The stream must be long enough; it decides the order of the data.
    """
    with one_thread(), (progress or Silent()).task("training", schedule.steps) as task:
        return _train(model, batches(examples, schedule.rows, schedule.width), schedule, objective, task)


@contextmanager
def one_thread() -> Generator[None]:
    """Run torch on one thread: sums in one order, and models this small are fastest so."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _train(
    model: nn.Module, stream: Iterator[Batch], schedule: Schedule, objective: Objective, task: Task
) -> list[float]:
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(
        parameters, schedule.learning_rate, betas=schedule.betas, weight_decay=schedule.weight_decay
    )
    model.train()
    losses: list[float] = []
    for step, batch in zip(range(schedule.steps), stream, strict=False):
        for group in optimiser.param_groups:
            group["lr"] = schedule.rate(step)
        value = objective(model, batch)
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        losses.append(value.item())
        if not math.isfinite(losses[-1]):
            raise UserError("training diverged", where=f"step {step}", got=f"loss {losses[-1]}", fix="lower the rate")
        task.advance()
        task.note(f"loss {losses[-1]:.3f}")
    model.eval()
    if len(losses) < schedule.steps:
        raise UserError("too little data", expected=f"{schedule.steps} batches", got=str(len(losses)))
    return losses
