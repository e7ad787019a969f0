"""What a selection is worth: the same prompt with the selection kept and everything else taken, drawn, or attacked.

S selected, N alive (recomputed on this prompt):

    importance   S 1, the rest 0               does it suffice alone?
    stochastic   S 1, the rest U(0,1)          … with everything else random? mean and worst of the draws
    adversarial  S 1, N∖S attacked, not alive U(0,1) in one fixed draw    … with the worst of the rest?
    ablated      the listed A 0, all else 1, Δ 1, in float32     what does the full model lose without A?

Δ is off in the first three, or drawn, or attacked too. The adversary raises the loss of the context, which every regime
reports; the masks that it found are kept, so that its loss can be had again. Masks that raise a loss need not be those
that make the label unlikely, and what is said of a selection is said of the label: where the loss is another than the
label's own, the label is attacked as well. Where nothing is left to attack the result says `no_freedom`. Controls:
random sets of alive nodes with as many at each weight and position as S has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from radiograph.core import derive
from radiograph.core.shapes import Bool, Float
from radiograph.decompose.adversary import Attack, Attacked, attack
from radiograph.decompose.circuits._context import Context
from radiograph.decompose.circuits._prompt import ROWS, Maskable

Delta = Literal["off", "random", "attacked"]
HARD = (Attack(random=16, starts=4, steps=4, size=1.0), Attack(random=16, starts=4, steps=20, size=0.1))
"""The evaluation adversary: the worse of the two."""
DRAWS = 64


@dataclass(frozen=True, eq=False)
class Measured:
    """One regime."""

    loss: float
    p: float
    """Of the label."""
    logits: Float[Tensor, "position vocabulary"]
    """In the regime; of the stochastic one, such that its probabilities are means over draws."""
    worst_p: float | None = None
    worst_loss: float | None = None
    draws: int = 1


@dataclass(frozen=True, eq=False)
class Lowest:
    """Masks under which the label is least likely."""

    p: float
    masks: Float[Tensor, "position component"]
    delta: Float[Tensor, "position weight"] | None


@dataclass(frozen=True, eq=False)
class Regime:
    """The adversarial regime."""

    measured: Measured
    best_random: float
    """Loss of the worst random masks."""
    mean_random: float
    freedom: int
    steps: str
    starts: int
    masks: Float[Tensor, "position component"]
    delta: Float[Tensor, "position weight"] | None
    label: Lowest
    """Where the label is least likely, of all that was found."""

    @property
    def no_freedom(self) -> bool:
        """Whether nothing could be attacked."""
        return self.freedom == 0


@dataclass(frozen=True, eq=False)
class Regimes:
    """All of one selection."""

    importance: Measured
    stochastic: Measured
    adversarial: Regime
    ablated: Measured | None = None
    controls: list[float] = field(default_factory=list)
    """Label probability of each control under `importance`."""


def measure(
    prompt: Maskable,
    selected: Bool[Tensor, "position component"],
    context: Context,
    *,
    seed: int,
    ablate: Bool[Tensor, "position component"] | None = None,
    delta: Delta = "off",
    draws: int = DRAWS,
    settings: Sequence[Attack] = HARD,
) -> Regimes:
    """Every regime of a selection; `ablate` None skips the last one."""
    with torch.no_grad():
        alone = _summed(context, prompt.run(selected.float()[None].to(prompt.raw.dtype), _off(prompt, delta, 1, seed)))
    return Regimes(
        importance=alone,
        stochastic=_stochastic(prompt, selected, context, seed, delta, draws),
        adversarial=worst(prompt, selected, context, seed=seed, delta=delta, settings=settings),
        ablated=None if ablate is None else _ablated(prompt, ablate, context),
    )


def worst(
    prompt: Maskable,
    selected: Bool[Tensor, "position component"],
    context: Context,
    *,
    seed: int,
    delta: Delta = "off",
    settings: Sequence[Attack] = HARD,
) -> Regime:
    """The adversarial regime: of several attacks the one that found the highest loss; of the label the lowest p."""
    best, how, masks, by_weight = _hardest(_Problem(prompt, selected, context, seed, delta), settings, seed)
    with torch.no_grad():
        measured = _summed(context, prompt.run(masks, by_weight))
    lowest = Lowest(measured.p, masks[0], None if by_weight is None else by_weight[0])
    if context.kind != "ce":
        _, _, m, d = _hardest(_Problem(prompt, selected, context.of_label(), seed, delta), settings, seed)
        with torch.no_grad():
            p = float(context.probability(prompt.run(m, d))[0])
        if p < lowest.p:
            lowest = Lowest(p, m[0], None if d is None else d[0])
    return Regime(
        measured,
        best.best_random,
        best.mean_random,
        best.freedom,
        str(how),
        how.starts,
        masks[0],
        None if by_weight is None else by_weight[0],
        lowest,
    )


def _hardest(
    problem: _Problem, settings: Sequence[Attack], seed: int
) -> tuple[Attacked, Attack, Float[Tensor, "row position component"], Float[Tensor, "row position weight"] | None]:
    """The best of several attacks, how it was made, and its masks as one row."""
    found: list[tuple[Attacked, Attack]] = []
    for number, one in enumerate(settings):
        generator = _generator(seed, "attack", number)
        found.append((attack(problem, problem.free, one, generator, rows=ROWS, like=problem.prompt.raw), one))
    best, how = max(found, key=lambda pair: pair[0].value)
    return best, how, *problem.masks(best.point[None])


def nothing_kept(prompt: Maskable, context: Context) -> Measured:
    """Every mask 0: what the prompt gets without a single component. What keeps the label here needs no selection."""
    with torch.no_grad():
        return _summed(context, prompt.run(torch.zeros_like(prompt.importance)[None], None))


def controls(
    prompt: Maskable,
    selected: Bool[Tensor, "position component"],
    context: Context,
    *,
    sets: int,
    seed: int,
    delta: Delta = "off",
) -> list[float]:
    """Label probability, under `importance`, of random alive sets matched in count per weight and position."""
    if sets == 0:
        return []
    weights = prompt.weight_of()
    generator = _generator(seed, "controls", 0)
    keys = torch.rand((sets, *selected.shape), generator=generator).to(prompt.raw)
    keys = keys.masked_fill(~prompt.alive, 2.0)
    drawn = torch.zeros_like(keys)
    for number in range(len(prompt.sizes)):
        own = weights == number
        count = selected[:, own].sum(-1)
        rank = keys[..., own].argsort(-1).argsort(-1)
        drawn[..., own] = (rank < count[:, None]).to(drawn.dtype)
    found: list[float] = []
    with torch.no_grad():
        for part in drawn.split(ROWS):
            found += context.probability(prompt.run(part, _off(prompt, delta, len(part), seed))).tolist()
    return found


class _Problem:
    """The loss as a function of what an adversary may move."""

    def __init__(self, prompt: Maskable, selected: Tensor, context: Context, seed: int, delta: Delta) -> None:
        self.prompt, self.context, self.delta = prompt, context, delta
        self.moves = (prompt.alive & ~selected).flatten().nonzero()[:, 0]
        generator = _generator(seed, "silent", 0)
        drawn = torch.rand(selected.shape, generator=generator).to(prompt.raw)
        self.base = torch.where(prompt.alive, selected.to(prompt.raw.dtype), drawn)
        self.weights = len(prompt.sizes)
        self._drawn = torch.rand((prompt.length, self.weights), generator=generator).to(prompt.raw)

    @property
    def free(self) -> int:
        """Variables: masks of N∖S, and of Δ where it is attacked."""
        extra = self.prompt.length * self.weights if self.delta == "attacked" else 0
        return len(self.moves) + extra

    def masks(self, points: Float[Tensor, "row variable"]) -> tuple[Tensor, Tensor | None]:
        """Masks of components and of Δ at some points."""
        rows = len(points)
        flat = self.base.flatten().expand(rows, -1)
        n = len(self.moves)
        m = flat.index_copy(1, self.moves, points[:, :n].to(flat.dtype)) if n else flat
        m = m.view(rows, *self.base.shape)
        if self.delta == "off":
            return m, None
        if self.delta == "random":
            return m, self._drawn.expand(rows, -1, -1)
        return m, points[:, n:].view(rows, self.prompt.length, self.weights)

    def __call__(self, points: Float[Tensor, "row variable"]) -> Float[Tensor, " row"]:
        return self.context.loss(self.prompt.run(*self.masks(points)))


def _stochastic(prompt: Maskable, selected: Tensor, context: Context, seed: int, delta: Delta, draws: int) -> Measured:
    generator = _generator(seed, "stochastic", 0)
    losses: list[Tensor] = []
    probabilities: list[Tensor] = []
    mean = torch.zeros_like(prompt.logits, dtype=torch.float32)
    level = torch.zeros_like(mean[:, :1])
    with torch.no_grad():
        for start in range(0, draws, ROWS):
            rows = min(ROWS, draws - start)
            noise = torch.rand((rows, *selected.shape), generator=generator).to(prompt.raw)
            m = torch.where(selected, torch.ones_like(noise), noise)
            by_weight: Tensor | None = None
            if delta != "off":
                shape = (rows, prompt.length, len(prompt.sizes))
                by_weight = torch.rand(shape, generator=generator).to(prompt.raw)
            logits = prompt.run(m, by_weight)
            losses.append(context.loss(logits))
            probabilities.append(context.probability(logits))
            mean += logits.float().softmax(-1).sum(0)
            level += logits.float().logsumexp(-1, keepdim=True).sum(0)
    loss, p = torch.cat(losses), torch.cat(probabilities)
    return Measured(
        float(loss.mean()),
        float(p.mean()),
        (mean / draws).log() + level / draws,
        float(p.min()),
        float(loss.max()),
        draws,
    )


def _ablated(prompt: Maskable, ablate: Tensor, context: Context) -> Measured:
    """The target without A. An empty A leaves the masks out where they are 1, so that it is the target itself."""
    with torch.no_grad(), torch.autocast(prompt.ids.device.type, enabled=False):
        return _summed(context, prompt.run((~ablate).to(prompt.raw.dtype)[None], 1.0))


def _summed(context: Context, logits: Tensor) -> Measured:
    return Measured(float(context.loss(logits)[0]), float(context.probability(logits)[0]), logits[0].detach().float())


def _off(prompt: Maskable, delta: Delta, rows: int, seed: int) -> Tensor | None:
    """Δ under `importance`: off, or one fixed draw."""
    if delta == "off":
        return None
    shape = (1, prompt.length, len(prompt.sizes))
    return torch.rand(shape, generator=_generator(seed, "delta", 0)).to(prompt.raw).expand(rows, -1, -1)


def _generator(seed: int, purpose: str, number: int) -> torch.Generator:
    return torch.Generator().manual_seed(derive(seed, "graph", purpose, number))
