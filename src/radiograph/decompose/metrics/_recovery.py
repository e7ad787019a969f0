"""A decomposition of a toy against its truth (see `numerics.components.recovery`).

Columns of a weight: `side` `input` takes what feature i makes it write, W dᵢ, against (dᵢ·V_c) U_c; `output` what it
reads for output i, dᵢᵀ W, against (U_c·dᵢ) V_c. Chance: the same start of another seed, 100 times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from radiograph.decompose._decomposition import Decomposition
from radiograph.models.masked import Factors, Target
from radiograph.numerics.components.recovery import (
    LIVE,
    TOLERANCES,
    Columns,
    best_cosine,
    columns,
    live,
    pattern_errors,
)

ONE_HOT = 0.75


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known of one weight."""

    parts: int
    pattern: Literal["identity", "dense"]
    fewest: int | None = None
    directions: Tensor | None = None
    """[feature, width]; None where no column is known."""
    side: Literal["input", "output"] = "input"


@dataclass(frozen=True, slots=True)
class WeightRecovery:
    """One weight against its truth."""

    weight: str
    parts: int
    fewest: int
    pattern: str
    live: int
    errors: int
    """Pattern errors at the tolerance .1."""
    errors_loose: int
    """At .2."""
    columns: Columns | None
    mmcs_start: float | None = None
    ml2r_start: float | None = None
    mmcs_random: float | None = None
    """Mean over random decompositions."""
    ml2r_random: float | None = None
    live_start: int | None = None
    errors_start: int | None = None

    @property
    def exact(self) -> bool:
        """Whether count and pattern are those of the truth."""
        return self.fewest <= self.live <= self.parts and (self.errors == 0 or self.fewest != self.parts)


def importance_matrix(decomposition: Decomposition, target: Target, features: int) -> dict[str, Tensor]:
    """Importance on one-hot inputs of .75, [feature, component] by weight."""
    with torch.no_grad():
        return decomposition.observe(target, ONE_HOT * torch.eye(features, dtype=target.dtype)).lower


def recovered(
    target: Target,
    matrices: Mapping[str, Tensor],
    factors: Mapping[str, Factors],
    truth: Mapping[str, Truth],
    *,
    at_start: tuple[Mapping[str, Tensor], Mapping[str, Factors]],
    random: Callable[[int], Mapping[str, Factors]],
    draws: int = 100,
) -> list[WeightRecovery]:
    """Every weight whose truth is known.

    Args:
        target: the toy.
        matrices: importance on one-hot inputs.
        factors: the components.
        truth: by weight.
        at_start: matrices and factors before the first step.
        random: factors of the n-th random decomposition.
        draws: random decompositions.
    """
    found: list[WeightRecovery] = []
    drawn = [random(number) for number in range(draws)] if any(t.directions is not None for t in truth.values()) else []
    for weight, known in truth.items():
        g, g0 = _numpy(matrices[weight]), _numpy(at_start[0][weight])
        rest: dict[str, float | None] = {}
        own = None
        if known.directions is not None:
            true = _true(target.matrix(weight), known)
            own = columns(g, true, _found(factors[weight], known))
            start = best_cosine(true, _found(at_start[1][weight], known), g0)
            chance = np.array([best_cosine(true, _found(other[weight], known)) for other in drawn])
            rest = {"mmcs_start": start[0], "ml2r_start": start[1]}
            rest |= {"mmcs_random": float(chance[:, 0].mean()), "ml2r_random": float(chance[:, 1].mean())}
        errors = [pattern_errors(g, known.pattern, known.parts, t) for t in TOLERANCES]
        found.append(
            WeightRecovery(
                weight,
                known.parts,
                known.parts if known.fewest is None else known.fewest,
                known.pattern,
                live(g, LIVE),
                errors[0],
                errors[1],
                own,
                live_start=live(g0, LIVE),
                errors_start=pattern_errors(g0, known.pattern, known.parts, TOLERANCES[0]),
                **rest,  # pyright: ignore[reportArgumentType]
            )
        )
    return found


def _true(matrix: Tensor, known: Truth) -> np.ndarray:
    assert known.directions is not None
    d = known.directions.to(matrix)
    return _numpy(d @ matrix.T if known.side == "input" else d @ matrix)


def _found(factors: Factors, known: Truth) -> np.ndarray:
    assert known.directions is not None
    d = known.directions.to(factors.reads)
    if known.side == "input":
        return _numpy((d @ factors.reads)[:, :, None] * factors.writes[None])
    return _numpy((d @ factors.writes.T)[:, :, None] * factors.reads.T[None])


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().double().numpy()
