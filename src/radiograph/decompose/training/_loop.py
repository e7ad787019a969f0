"""The loop.

1. freeze the target; start V, U and the importance function   2. warm up on faithfulness alone
3. per step: learning rate → target's own forward → importance → losses → backward → clips → AdamW without decay
4. every `eval_every` steps the losses on held-out batches; the last step only evaluates
The batch of a step, its mask noise and attacks are functions of (seed, step) alone: with the tensors of a checkpoint
the steps that follow are the same, byte for byte, on one device with one number of threads.
Stops (exit 1) at a loss that is not finite, naming step, loss, and the first component and position.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from radiograph.core import Progress, RadiographError, Silent, derive
from radiograph.decompose._decomposition import Observation
from radiograph.decompose._scene import Scene
from radiograph.decompose.importance import Importance
from radiograph.decompose.losses import Loss, parse
from radiograph.decompose.losses.faithfulness import faithfulness
from radiograph.decompose.training._data import Data
from radiograph.decompose.training._settings import Settings
from radiograph.decompose.training._start import started
from radiograph.decompose.training._state import LogRow, State
from radiograph.models.masked import Factors, Target, recorded
from radiograph.numerics.components.squash import squash_of


class Diverged(RadiographError):
    """A loss is not finite: an error of the training, not of the data."""


@dataclass(frozen=True, eq=False)
class Trained:
    """What came out."""

    factors: dict[str, Factors]
    importance: Importance
    log: tuple[LogRow, ...]
    signs: dict[str, Tensor]
    """Per weight, −1 where the mean activation of a component, where it fires, is negative."""

    @property
    def held_out(self) -> float:
        """The weighted loss on held-out batches, at the end."""
        return self.log[-1].total


def train(
    target: Target,
    data: Data,
    settings: Settings,
    *,
    progress: Progress | None = None,
    keep: Callable[[State], None] | None = None,
    resume: Callable[[State], bool] | None = None,
    held_out: int = 4,
) -> Trained:
    """Train a decomposition.

    Args:
        target: the network; frozen for the time.
        data: batches.
        settings: everything else.
        progress: told of every step.
        keep: called after every evaluation, to write a checkpoint.
        resume: fills a fresh state from a checkpoint, if there is one.
        held_out: held-out batches of an evaluation.
    """
    losses = [parse(text) for text in settings.losses]
    with frozen(target), (progress or Silent()).task("decomposing", settings.steps) as task:
        state = new_state(target, data, settings)
        if resume is None or not resume(state):
            _warm_up(target, state, settings)
        task.advance(state.step)
        while state.step < settings.steps:
            if state.step % settings.eval_every == 0 and (not state.log or state.log[-1].step < state.step):
                state.log.append(evaluate(target, data, settings, state, losses, held_out))
                task.note(f"loss {state.log[-1].total:.4g}")
                if keep is not None:
                    keep(state)
            step(target, data, settings, state, losses)
            task.advance()
        state.log.append(evaluate(target, data, settings, state, losses, held_out))
        signs = _signs(target, data, settings, state)
    return Trained(
        {w: Factors(f.reads.detach(), f.writes.detach()) for w, f in state.factors.items()},
        state.importance,
        tuple(state.log),
        signs,
    )


def new_state(target: Target, data: Data, settings: Settings) -> State:
    """Before the first step."""
    factors, importance = started(target, data.batch(0, max(settings.batch, 64)).to(target.device), settings)
    for own in factors.values():
        own.reads.requires_grad_()
        own.writes.requires_grad_()
    for tensor in importance.trained.values():
        tensor.requires_grad_()
    moved = [t for f in factors.values() for t in (f.reads, f.writes)]
    groups = [{"params": moved}, {"params": list(importance.trained.values())}]
    optimiser = torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=0.0, fused=True)
    return State(factors, importance, optimiser)


def step(target: Target, data: Data, settings: Settings, state: State, losses: list[Loss]) -> None:
    """One step, in place."""
    for group in state.optimiser.param_groups:
        group["lr"] = settings.rate(state.step)
    with _autocast(target, settings):
        scene = scene_of(target, data.batch(state.step, settings.batch).to(target.device), settings, state)
        terms = [(loss, loss.measure(scene)) for loss in losses if loss.weight > 0.0]
        total = torch.stack([loss.weight * value.float() for loss, value in terms]).sum()
    state.optimiser.zero_grad(set_to_none=True)
    total.backward()
    if not math.isfinite(float(total.detach())):
        bad = next(
            (loss.name for loss, v in terms if not math.isfinite(float(loss.weight * v.detach().float()))), "sum"
        )
        raise Diverged(
            f"training diverged: {bad} is not finite at step {state.step}{_where(scene)}; lower the learning rate"
        )
    for group, limit in zip(state.optimiser.param_groups, (settings.clip_components, settings.clip_nets), strict=True):
        if limit > 0.0:
            torch.nn.utils.clip_grad_norm_(group["params"], limit)
    state.optimiser.step()
    for loss in losses:
        loss.after(scene)
    state.step += 1


def _where(scene: Scene) -> str:
    """The first activation or importance that is not finite."""
    for kind, values in (("h", scene.seen.h), ("g", scene.seen.raw)):
        for weight, own in values.items():
            bad = (~torch.isfinite(own.detach())).nonzero()
            if len(bad):
                *position, component = bad[0].tolist()
                return f" ({kind} of {weight}:{component}, position {position})"
    return ""


def scene_of(
    target: Target, inputs: Tensor, settings: Settings, state: State, *, purpose: str = "noise", grad: bool = True
) -> Scene:
    """The target on a batch, with importance; noise is seeded by the step."""
    squash = squash_of(settings.squash)
    with torch.no_grad(), recorded(target, list(state.factors)) as record:
        output = target.run(inputs)
    with torch.set_grad_enabled(grad):
        h = {weight: own.activations(record.inputs[weight]) for weight, own in state.factors.items()}
        raw = state.importance.raw({weight: record.seen(weight) for weight in state.factors}, h)
        lower = {weight: squash.lower(g) for weight, g in raw.items()}
        upper = {weight: squash.upper(g) for weight, g in raw.items()}
    generator = torch.Generator().manual_seed(derive(settings.seed, "decompose", purpose, state.step))
    return Scene(
        target,
        state.factors,
        squash,
        inputs,
        Observation(output, record, h, raw, lower, upper),
        settings.distance,
        generator,
        state.step / settings.steps,
        state.memory,
    )


def evaluate(target: Target, data: Data, settings: Settings, state: State, losses: list[Loss], batches: int) -> LogRow:
    """Losses on held-out batches. Nothing that they learn between steps is moved."""
    sums: dict[str, float] = {loss.name: 0.0 for loss in losses}
    active: dict[str, float] = dict.fromkeys(state.factors, 0.0)
    memory = {name: tensor.detach().clone() for name, tensor in state.memory.items()}
    for number in range(batches):
        inputs = data.held_out(number, settings.batch).to(target.device)
        scene = scene_of(target, inputs, settings, state, purpose=f"evaluation {number}", grad=False)
        with torch.no_grad():
            for loss in losses:
                sums[loss.name] += float(loss.measure(scene)) / batches
            for weight, g in scene.seen.lower.items():
                active[weight] += float((g > 0).float().sum(-1).mean()) / batches
        state.memory.clear()
        state.memory.update(memory)
    total = sum(loss.weight * sums[loss.name] for loss in losses)
    return LogRow(state.step, total, sums, active)


@contextmanager
def frozen(target: Target) -> Iterator[None]:
    """No weight of the target moves, whatever happens; its flags are put back."""
    moved = [p for p in target.network.parameters() if p.requires_grad]
    for parameter in moved:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in moved:
            parameter.requires_grad_(True)


def _warm_up(target: Target, state: State, settings: Settings) -> None:
    if not settings.warmup_steps:
        return
    moved = [t for f in state.factors.values() for t in (f.reads, f.writes)]
    optimiser = torch.optim.AdamW(moved, lr=settings.warmup_rate, weight_decay=settings.warmup_decay, fused=True)
    scene: Any = _Bare(target, state.factors)
    for _ in range(settings.warmup_steps):
        optimiser.zero_grad(set_to_none=True)
        faithfulness(scene).backward()
        optimiser.step()


@dataclass(frozen=True, eq=False)
class _Bare:
    target: Target
    factors: dict[str, Factors]


def _signs(target: Target, data: Data, settings: Settings, state: State) -> dict[str, Tensor]:
    """Signs of the mean activation where components fire, on one held-out batch."""
    inputs = data.held_out(0, max(settings.batch, 64)).to(target.device)
    scene = scene_of(target, inputs, settings, state, grad=False)
    found: dict[str, Tensor] = {}
    with torch.no_grad():
        for weight, h in scene.seen.h.items():
            fires = (scene.seen.lower[weight] > 0).to(h.dtype)
            mean = (h * fires).flatten(0, -2).sum(0)
            found[weight] = torch.where(mean < 0, -torch.ones_like(mean), torch.ones_like(mean))
    return found


def _autocast(target: Target, settings: Settings) -> Any:
    if settings.precision != "bf16":
        return nullcontext()
    return torch.autocast(target.device.type, dtype=torch.bfloat16)
