"""Which parts carry a behaviour: taken out one by one, each time the one without which most is gained.

The objective is KL(reference ‖ edited) over the answers of examples, plus `weight` × KL(before ‖ edited) over plain
text. Its gradient by the scale of every part orders them; the leading few are tried for real and the best is taken out,
until nothing gains `LEAST` of what there was, or `most` are out. A plain model has no reference: there the objective is
the mean log-probability of the completions, which must be what the model says by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from radiograph.core import Context, Refusal, UserError
from radiograph.core.components import Component
from radiograph.methods._edit.examples import Batch, Row, batches
from radiograph.models.lowrank import Factors, added
from radiograph.models.masked import of_model

if TYPE_CHECKING:
    import torch

    from radiograph.methods._edit.parts import Parts
    from radiograph.models import LanguageModel

TRIED: Final = 3
LEAST: Final = 0.005


@dataclass(frozen=True, eq=False)
class Side:
    """A batch, and the log-probabilities that the edited model is compared with (None: the foil's answer counts)."""

    batch: Batch
    wanted: torch.Tensor | None


@dataclass(frozen=True, eq=False)
class Objective:
    """What is to become small."""

    parts: Parts
    on: tuple[Side, ...]
    off: tuple[Side, ...]
    weight: float

    def values(self, additions: dict[str, Factors], *, grad: bool = False) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean nats on the examples' answers, and on plain text."""
        return tuple(self._mean(sides, additions, grad) for sides in (self.on, self.off))  # type: ignore[return-value]

    def total(self, additions: dict[str, Factors]) -> float:
        """Examples + weight × plain."""
        on, off = self.values(additions)
        return float(on + self.weight * off)

    def _mean(self, sides: Sequence[Side], additions: dict[str, Factors], grad: bool) -> torch.Tensor:

        import torch

        total, n = torch.zeros(()), 0
        for side in sides:
            with torch.set_grad_enabled(grad), added(self.parts.target, additions):
                found = self.parts.target.run(side.batch.ids).float().log_softmax(-1)
                total = total + divergence(found, side).sum()
            n += int(side.batch.predicts.sum())
        return total / max(n, 1)


def divergence(found: torch.Tensor, side: Side) -> torch.Tensor:
    """Nats at each position that counts: KL(wanted ‖ found), or the completion's own log-probability."""
    take = side.batch.predicts
    if side.wanted is None:
        return found.gather(-1, side.batch.next[..., None])[..., 0][take]
    wanted = side.wanted[take]
    return (wanted.exp() * (wanted - found[take])).sum(-1)


def objective(parts: Parts, on: Sequence[Row], off: Sequence[Row], weight: float) -> Objective:
    """Of an adapter: towards the reference on examples. Of a plain model: away from the completions."""
    return Objective(parts, tuple(wanted(parts.reference, on)), tuple(wanted(parts.model, off)), weight)


def check_shown(parts: Parts, rows: Sequence[Row]) -> None:
    """Refuse examples of what a plain model does not do: no part of it can carry that.

    Raises:
        Refusal: `not_shown`, exit 4.
    """
    import torch

    said = 0
    for batch in batches(rows):
        with torch.no_grad():
            first = parts.target.run(batch.ids).argmax(-1)
        said += int(((first == batch.next) | ~batch.predicts).all(1).sum())
    if 2 * said < len(rows):
        raise Refusal(
            "not_shown",
            "the model does not say the completions by itself, so no part of it carries them",
            expected=f"at least half of {len(rows)} completions as greedy answers",
            got=str(said),
            fix="give examples of what the model does, or `edit train` it to do this",
        )


def wanted(model: LanguageModel | None, rows: Sequence[Row]) -> list[Side]:
    """Rows with what a model makes of them; without a model their own answers count."""
    import torch

    if model is None:
        return [Side(b, None) for b in batches(rows)]
    target = of_model(model, adapted=True)
    with torch.no_grad():
        return [Side(b, target.run(b.ids).float().log_softmax(-1)) for b in batches(rows)]


@dataclass(frozen=True, eq=False)
class Taken:
    """One part taken out, and what is left."""

    part: Component | None
    on: float
    off: float

    def total(self, weight: float) -> float:
        """Examples + weight × plain."""
        return self.on + weight * self.off


def gradients(aim: Objective, out: Sequence[Component]) -> np.ndarray:
    """Of the objective by the scale of every part, those in `out` at 0: what is lost by more of it."""
    import torch

    parts = aim.parts
    scales = {a: torch.zeros(n) for a, n in parts.sizes.items()}
    for part in out:
        scales[part.weight][part.index] = -1.0
    for scale in scales.values():
        scale.requires_grad_(True)
    additions = {a: Factors(f.reads, f.writes * scales[a][:, None]) for a, f in parts.factors.items()}
    on, off = aim.values(additions, grad=True)
    found = torch.autograd.grad(on + aim.weight * off, list(scales.values()), allow_unused=True)
    return torch.cat(
        [torch.zeros(n) if g is None else g for g, n in zip(found, parts.sizes.values(), strict=True)]
    ).numpy()


def taken_out(ctx: Context, aim: Objective, most: int, allowed: Sequence[Component] | None = None) -> list[Taken]:
    """The parts in the order in which they are taken out; the first entry is before any."""
    parts = aim.parts
    may = set(parts.all if allowed is None else allowed)
    on, off = aim.values({})
    found = [Taken(None, float(on), float(off))]
    if found[0].on <= 0 and aim.on and aim.on[0].wanted is not None:
        raise UserError("the model answers the examples as its reference does", code="no_difference")
    out: list[Component] = []
    least = LEAST * abs(found[0].total(aim.weight))
    with ctx.progress.task("search", most) as task:
        while len(out) < most:
            slope = gradients(aim, out)
            order = [parts.all[i] for i in np.argsort(-slope, kind="stable")]
            best: Taken | None = None
            for part in [p for p in order if p in may and p not in out][:TRIED]:
                on, off = aim.values(_without(parts, [*out, part]))
                tried = Taken(part, float(on), float(off))
                if best is None or tried.total(aim.weight) < best.total(aim.weight):
                    best = tried
            if best is None or found[-1].total(aim.weight) - best.total(aim.weight) < least:
                break
            assert best.part is not None, "it was tried"
            out.append(best.part)
            found.append(best)
            task.advance(1)
            task.note(f"{best.part}: {best.on:.3g} nats on examples, {best.off:.2g} on plain text")
    return found


def _without(parts: Parts, out: Sequence[Component]) -> dict[str, Factors]:
    from radiograph.methods._edit.measure import scaled

    return scaled(parts, out, dict.fromkeys(out, 0.0))
