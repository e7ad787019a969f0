"""What an edit does: divergence at three distances, the examples' answers before and after, and a null of blind edits.

A position is near where a chosen part fires (in the model before the edit), in the window elsewhere in such a document,
far in documents without a firing. The null removes or adds, at as many random live parts, as much as the edit does:
equal Frobenius norm of the whole change, so that it says what a push of this size does anywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from radiograph.core import Context, Refusal
from radiograph.methods._edit.examples import Row, batches
from radiograph.models.lowrank import Additions, Factors, added
from radiograph.numerics.distances import Effect, classes, effects

if TYPE_CHECKING:
    from radiograph.core.components import Component
    from radiograph.methods._edit.parts import Parts

TRIES: Final = 4
"""Draws of the null that are tried for one that can be measured."""


@dataclass(frozen=True, eq=False)
class Positions:
    """One entry a predicting position of all texts."""

    document: np.ndarray
    near: np.ndarray
    anywhere: np.ndarray
    """Whether its document holds a firing, also at a token that predicts nothing that counts."""
    kl: np.ndarray
    rise: np.ndarray
    token: tuple[np.ndarray, np.ndarray] | None = None
    """Probability of one token at every position, before and after."""

    @property
    def kind(self) -> np.ndarray:
        """0 near, 1 window, 2 far."""
        return classes(self.near, self.anywhere)


def measured(
    parts: Parts,
    chosen: Sequence[Component],
    additions: Additions,
    rows: Sequence[Row],
    token: int | None = None,
) -> Positions:
    """KL(after ‖ before) and the loss difference at every position of some texts; of a token its probabilities."""
    import torch

    document, near, anywhere, kl, rise, was, now = [], [], [], [], [], [], []
    for batch in batches(rows):
        with torch.no_grad():
            before = parts.target.run(batch.ids).float().log_softmax(-1)
            with added(parts.target, additions):
                after = parts.target.run(batch.ids).float().log_softmax(-1)
        take = batch.predicts
        number = torch.tensor(batch.rows)[:, None].expand_as(take)
        document.append(number[take].numpy())
        kl.append((after.exp() * (after - before)).sum(-1)[take].double().clamp(min=0).numpy())
        loss = [-p.gather(-1, batch.next[..., None])[..., 0][take].double() for p in (before, after)]
        rise.append((loss[1] - loss[0]).numpy())
        fires = parts.fires(batch.ids, chosen).any(-1) & batch.mask
        near.append(fires[take].numpy())
        anywhere.append(fires.any(1)[:, None].expand_as(take)[take].numpy())
        if token is not None:
            was.append(before[..., token][take].double().exp().numpy())
            now.append(after[..., token][take].double().exp().numpy())
    every = [np.concatenate(own) for own in (document, near, anywhere, kl, rise)]
    told = None if token is None else (np.concatenate(was), np.concatenate(now))
    return Positions(every[0], every[1], every[2], every[3], every[4], told)


def near_by_document(positions: Positions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Documents with a firing, and the token's mean probability at their firings, before and after."""
    assert positions.token is not None, "it was asked for"
    units, inverse = np.unique(positions.document[positions.near], return_inverse=True)
    n = np.bincount(inverse)
    was, now = (np.bincount(inverse, weights=p[positions.near]) / n for p in positions.token)
    return units, was, now


def at_distances(positions: Positions, seed: int) -> dict[str, Effect]:
    """The three classes."""
    found = effects(positions.kl, positions.rise, positions.kind, positions.document, seed=seed)
    return {str(name): effect for name, effect in found.items()}


def null(
    ctx: Context,
    parts: Parts,
    chosen: Sequence[Component],
    additions: Additions,
    rows: Sequence[Row],
    draws: int,
) -> list[float]:
    """Far divergence of equal-norm edits of random live parts, a number a draw that leaves anything far from it."""
    generator = np.random.default_rng([ctx.seed, 0xED17])
    live = [c for c in live_parts(parts, rows) if c not in set(chosen)]
    if not live:
        return []
    size = float(sum((f.reads.double() @ f.writes.double()).square().sum() for f in additions.values()) ** 0.5)
    found: list[float] = []
    with ctx.progress.task("null", draws) as task:
        for _ in range(TRIES * draws):
            if len(found) == draws:
                break
            drawn = [live[i] for i in generator.choice(len(live), min(len(chosen), len(live)), replace=False)]
            blind = scaled(parts, drawn, dict.fromkeys(drawn, 0.0))
            own = float(sum((f.reads.double() @ f.writes.double()).square().sum() for f in blind.values()) ** 0.5)
            if own > 0:
                blind = {a: Factors(f.reads, f.writes * (size / own)) for a, f in blind.items()}
                positions = measured(parts, drawn, blind, rows)
                far = positions.kl[positions.kind == 2]
                # Near and far are not alike: where a draw fires in every text, it says nothing about far.
                if len(far):
                    found.append(float(far.mean()))
                    task.advance(1)
    return found


def live_parts(parts: Parts, rows: Sequence[Row]) -> list[Component]:
    """Parts that fire anywhere on some texts."""
    return [c for c, n in zip(parts.all, fired(parts, rows)[0].tolist(), strict=True) if n]


def fired(parts: Parts, rows: Sequence[Row]) -> tuple[np.ndarray, int]:
    """Firings of every part, and positions."""
    total, n = np.zeros(len(parts.all)), 0
    for batch in batches(rows):
        total += parts.fires(batch.ids, parts.all)[batch.mask].sum(0).numpy()
        n += int(batch.mask.sum())
    return total, n


def scaled(parts: Parts, chosen: Sequence[Component], factors: dict[Component, float]) -> dict[str, Factors]:
    """What is added when parts are scaled: (f − 1) U ⊗ V."""
    import torch

    found: dict[str, Factors] = {}
    for address in dict.fromkeys(c.weight for c in chosen):
        own = [c for c in chosen if c.weight == address]
        index = [c.index for c in own]
        by = torch.tensor([factors[c] - 1.0 for c in own])
        full = parts.factors[address]
        found[address] = Factors(full.reads[:, index], full.writes[index] * by[:, None])
    return found


def answers(parts: Parts, rows: Sequence[Row], additions: Additions | None = None) -> np.ndarray:
    """The probability of each row's answer, all its tokens."""
    import torch

    found = np.zeros(len(rows))
    for batch in batches(rows):
        with torch.no_grad(), added(parts.target, additions or {}):
            values = parts.target.run(batch.ids).float().log_softmax(-1)
        own = values.gather(-1, batch.next[..., None])[..., 0]
        found[list(batch.rows)] = torch.where(batch.predicts, own, 0.0).sum(1).double().exp().numpy()
    return found


def firings(parts: Parts, chosen: Sequence[Component], rows: Sequence[Row], additions: Additions | None = None) -> int:
    """Positions at which any of these parts fires, under an edit where one is given."""
    total = 0
    for batch in batches(rows):
        with added(parts.target, additions or {}):
            total += int((parts.fires(batch.ids, chosen).any(-1) & batch.mask).sum())
    return total


def check_alive(count: int) -> None:
    """Refuse parts that never fire.

    Raises:
        Refusal: `dead_component`, exit 4.
    """
    if not count:
        raise Refusal(
            "dead_component", "the parts to be edited fire nowhere on this data", fix="other parts, or --data"
        )
