"""The smallest selection that still does it: importance of alive nodes as free variables of one prompt.

1. variables: raw importance g of alive (position, component) pairs, starting at the model's own, which step 0
   reproduces bit for bit; weights and everything not alive are out of reach   2. loss = recon under stochastic masks
   (Δ drawn) or importance masks + sparsity × Σ (g_upper + 1e-12)^p / positions + adversary weight × recon under the
   masks of a few sign-gradient ascents   3. AdamW with a short warm-up; selected = importance > 0 at the end
Several sparsities run as rows of one batch on the same draws: each row is what it would be alone.

Units: nats of recon. Without adversary (weight 0) the result is stamped `non_adversarial` by whoever stores it:
sufficient without an adversary means little.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from radiograph.core import UserError, derive
from radiograph.core.shapes import Bool, Float, Int
from radiograph.decompose.adversary import Attack, attack
from radiograph.decompose.circuits._context import Context
from radiograph.decompose.circuits._prompt import Prompt
from radiograph.decompose.masks import mixed

SNAPSHOTS = 20
TRAINING = Attack(random=1, starts=1, steps=6, size=0.4)
_FLOOR = 1e-12


@dataclass(frozen=True, slots=True)
class Settings:
    """How a selection is searched."""

    sparsity: tuple[float, ...] = (0.02,)
    adversary_weight: float = 3.0
    masks: Literal["stochastic", "importance"] = "stochastic"
    steps: int = 150
    lr: float = 5e-2
    warmup: float = 0.01
    p: float = 0.5
    attack: Attack = TRAINING


@dataclass(frozen=True, eq=False)
class Snapshot:
    """How many nodes were selected at a step, by row, weight and position."""

    step: int
    selected: Int[Tensor, "row weight position"]
    recon: Float[Tensor, " row"]
    adversarial: Float[Tensor, " row"]


@dataclass(frozen=True, eq=False)
class Optimised:
    """What was found, a row for every sparsity."""

    selected: Bool[Tensor, "row position component"]
    importance: Float[Tensor, "row position component"]
    snapshots: list[Snapshot]


def optimise(
    prompt: Prompt,
    context: Context,
    settings: Settings,
    *,
    seed: int,
    watch: Callable[[Snapshot], None] | None = None,
) -> Optimised:
    """Search, every sparsity at once.

    Raises:
        UserError: nothing is alive, or the loss is not finite.
    """
    places = prompt.alive.flatten().nonzero()[:, 0]
    if not len(places):
        raise UserError("nothing is alive on this prompt, so nothing can be selected", code="nothing_alive")
    rows = len(settings.sparsity)
    sparsity = torch.tensor(settings.sparsity, dtype=torch.float32, device=prompt.ids.device)
    raw = prompt.raw.flatten()[places].detach().expand(rows, -1).clone().requires_grad_()
    optimiser = torch.optim.AdamW([raw], lr=settings.lr, weight_decay=0.0)
    warm = max(1, round(settings.warmup * settings.steps))
    every = max(1, settings.steps // SNAPSHOTS)
    squash, snapshots = prompt.decomposition.squash, []
    for step in range(settings.steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = settings.lr * min(1.0, (step + 1) / warm)
        generator = torch.Generator().manual_seed(derive(seed, "graph", "optimise", step))
        g = scattered(prompt, places, squash.lower(raw))
        recon, adversarial = _losses(prompt, context, settings, places, g, generator)
        if step % every == 0 or step == settings.steps:
            shot = Snapshot(step, _counts(prompt, g.detach() > 0), recon.detach(), adversarial.detach())
            snapshots.append(shot)
            if watch is not None:
                watch(shot)
        if step == settings.steps:
            break
        sparse = (squash.upper(raw).clamp(min=0) + _FLOOR).pow(settings.p).sum(-1) / prompt.length
        loss = recon + sparsity * sparse + settings.adversary_weight * adversarial
        _check(loss, step)
        optimiser.zero_grad()
        loss.sum().backward()
        optimiser.step()
    found = scattered(prompt, places, squash.lower(raw.detach()))
    return Optimised(found > 0, found, snapshots)


def scattered(
    prompt: Prompt, places: Int[Tensor, " variable"], values: Float[Tensor, "row variable"]
) -> Float[Tensor, "row position component"]:
    """Values of some places, 0 elsewhere."""
    flat = torch.zeros((len(values), prompt.alive.numel()), dtype=values.dtype, device=values.device)
    return flat.index_copy(1, places, values).view(len(values), *prompt.alive.shape)


def _losses(
    prompt: Prompt, context: Context, settings: Settings, places: Tensor, g: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Recon and adversarial recon of every row; all rows see the same draws."""
    weights = len(prompt.decomposition.sizes)
    noise = torch.rand((1, *prompt.alive.shape), generator=generator).to(g)
    delta = torch.rand((1, prompt.length, weights), generator=generator).to(g).expand(len(g), -1, -1)
    if settings.masks == "stochastic":
        recon = context.loss(prompt.run(mixed(g, noise), delta))
    else:
        recon = context.loss(prompt.run(g, None))
    if settings.adversary_weight == 0:
        return recon, torch.zeros_like(recon)
    fixed = g.detach()
    seed = int(torch.randint(1 << 62, (), generator=generator))
    points = [_attacked(prompt, context, settings.attack, places, row, noise[0], seed) for row in fixed]
    r = noise.flatten(1).expand(len(g), -1).index_copy(1, places, torch.stack(points))
    return recon, context.loss(prompt.run(mixed(g, r.view_as(g)), None))


def _attacked(
    prompt: Prompt, context: Context, how: Attack, places: Tensor, g: Tensor, noise: Tensor, seed: int
) -> Tensor:
    """R of the variables that hurt a row most."""

    def objective(points: Tensor) -> Tensor:
        r = noise.flatten().expand(len(points), -1).index_copy(1, places, points)
        return context.loss(prompt.run(mixed(g[None], r.view(len(points), *g.shape)), None))

    # One stream a step, whatever the row: a row of several sparsities is what it would be alone.
    generator = torch.Generator().manual_seed(seed)
    return attack(objective, len(places), how, generator, like=g).point


def _counts(prompt: Prompt, selected: Tensor) -> Tensor:
    by_weight = torch.nn.functional.one_hot(prompt.weight_of(), len(prompt.decomposition.sizes)).float()
    return (selected.float() @ by_weight).transpose(1, 2).long()


def _check(loss: Tensor, step: int) -> None:
    bad = ~torch.isfinite(loss.detach())
    if bool(bad.any()):
        raise UserError(
            "the loss of the search is not finite",
            where=f"step {step}, sparsity {int(bad.nonzero()[0])}",
            fix="try a smaller --lr",
            code="non_finite",
        )
