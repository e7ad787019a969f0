"""The worst masks that can be found: sign-gradient ascent in [0, 1]^n, never below the best random draw.

1. draw `random` points of [0, 1]^n (of three or more, one is all 0 and one all 1)   2. from the `starts` worst of them
take `steps` steps of `size` along the sign of the gradient, clipped to [0, 1]   3. return the best iterate seen, with
the best and the mean random value beside it. Hence final >= best random >= each start, by construction.

Only what is free moves: callers give variables of masks outside a selection alone. Where nothing is free the result
says so (`no_freedom`) and its value is that of the selection itself. Units: those of the objective.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from radiograph.core import UserError
from radiograph.core.shapes import Float

Objective = Callable[[Float[Tensor, "row variable"]], Float[Tensor, " row"]]
"""The loss of several points at once. Rows are independent."""


@dataclass(frozen=True, slots=True)
class Attack:
    """How hard to look."""

    random: int = 16
    starts: int = 1
    steps: int = 20
    size: float = 0.1

    def __str__(self) -> str:
        return f"{self.steps}x{self.size:g}"


TRAINING: Final = Attack(random=1, starts=1, steps=1, size=1.0)
EVALUATION: Final = Attack()


@dataclass(frozen=True, slots=True, eq=False)
class Attacked:
    """What was found."""

    point: Float[Tensor, " variable"]
    value: float
    best_random: float
    mean_random: float
    freedom: int
    """Variables that could move."""

    @property
    def no_freedom(self) -> bool:
        """Whether nothing could move: the value is that of the selection."""
        return self.freedom == 0


def attack(
    objective: Objective,
    free: int,
    settings: Attack,
    generator: torch.Generator,
    *,
    rows: int = 16,
    like: Tensor | None = None,
    first: Float[Tensor, "row variable"] | None = None,
) -> Attacked:
    """The largest value of an objective over [0, 1]^free that was found.

    Args:
        objective: loss of several points, a row each.
        free: number of variables.
        settings: how hard to look.
        generator: of the random draws.
        rows: points at most in one call of the objective.
        like: device and type of the points.
        first: points that are tried beside the random ones.

    Raises:
        UserError: the objective is not finite.
    """
    like = torch.zeros(()) if like is None else like
    if free == 0:
        with torch.no_grad():
            value = _finite(objective(like.new_zeros((1, 0))))[0]
        return Attacked(like.new_zeros(0), float(value), float(value), float(value), 0)
    points = _draws(free, settings.random, generator).to(like)
    if first is not None:
        points = torch.cat([points, first.to(like)])
    if settings.steps > 0 and len(points) <= min(settings.starts, rows):
        return _ascend(objective, points, None, settings)
    with torch.no_grad():
        values = torch.cat([_finite(objective(part)) for part in points.split(rows)])
    worst = values.argsort(descending=True, stable=True)[: max(1, settings.starts)]
    best = Attacked(points[worst[0]], float(values[worst[0]]), float(values.max()), float(values.mean()), free)
    if settings.steps == 0:
        return best
    for part in worst.split(rows):
        found = _ascend(objective, points[part], values, settings)
        best = found if found.value > best.value else best
    return best


def _ascend(objective: Objective, points: Tensor, random: Tensor | None, settings: Attack) -> Attacked:
    """Ascents side by side. Without values of random draws, those of the first points are them."""
    best_value: Tensor | None = None
    best_point = points
    current = points.detach()
    for step in range(settings.steps + 1):
        last = step == settings.steps
        with torch.set_grad_enabled(not last):
            current = current.detach().requires_grad_(not last)
            values = _finite(objective(current))
            gradient = None if last else torch.autograd.grad(values.sum(), current)[0]
        now = values.detach()
        if random is None:
            random = now
        if best_value is None:
            best_value, best_point = now, current.detach()
        else:
            better = now > best_value
            best_value = torch.where(better, now, best_value)
            best_point = torch.where(better[:, None], current.detach(), best_point)
        if gradient is not None:
            current = (current.detach() + settings.size * gradient.sign()).clamp_(0.0, 1.0)
    assert best_value is not None and random is not None
    place = int(best_value.argmax())
    return Attacked(
        best_point[place],
        float(best_value[place]),
        float(random.max()),
        float(random.mean()),
        points.shape[1],
    )


def _draws(free: int, count: int, generator: torch.Generator) -> Tensor:
    points = torch.rand((max(1, count), free), generator=generator, device=generator.device)
    if count >= 3:
        points[0], points[1] = 0.0, 1.0
    return points


def _finite(values: Tensor) -> Tensor:
    bad = ~torch.isfinite(values.detach())
    if bool(bad.any()):
        raise UserError(
            "the attacked loss is not finite",
            where=f"point {int(bad.nonzero()[0])}",
            got=str(float(values[int(bad.nonzero()[0])])),
            code="non_finite",
        )
    return values
