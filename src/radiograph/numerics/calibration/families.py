"""How many benign models are there, if those of one recipe family are alike?

Intraclass correlation ρ of scores by one-way analysis of variance over families of unequal size (Donner 1986), cut to
[0, 1]; n_effective = n/(1 + (m̄ − 1)·ρ) with m̄ models per family. Models without a family are families of their own.
Printed beside n: a p-value counts models, and models of one family tell less than they count. Where all models are of
one family nothing says how alike they are beside others: ρ and n_effective are not estimable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Float
from radiograph.numerics._finite import finite


@dataclass(frozen=True)
class Families:
    """Models by family."""

    n: int
    families: int
    correlation: float | None
    n_effective: float | None
    """None: all models are of one family."""


def families(scores: Float[np.ndarray, " model"], names: Sequence[str]) -> Families:
    """ρ and n_effective; an empty name is a family of its own."""
    values = finite(scores, "scores")
    if len(names) != len(values):
        raise UserError("one family per model", got=f"{len(names)} families, {len(values)} models")
    members: dict[str, list[float]] = {}
    for place, (name, value) in enumerate(zip(names, values, strict=True)):
        members.setdefault(name or f"\0{place}", []).append(float(value))
    n, groups = len(values), [np.array(v) for v in members.values()]
    a = len(groups)
    named = sum(1 for name in members if not name.startswith("\0"))
    if a == 1 < n:
        return Families(n, named, None, None)
    if a == n:
        rho = 0.0
    else:
        within = sum(((g - g.mean()) ** 2).sum() for g in groups) / (n - a)
        between = sum(len(g) * (g.mean() - values.mean()) ** 2 for g in groups) / (a - 1)
        size = (n - sum(len(g) ** 2 for g in groups) / n) / (a - 1)
        total = between + (size - 1) * within
        rho = float(np.clip((between - within) / total, 0.0, 1.0)) if total > 0 else 0.0
    mean_size = n / a if a else 1.0
    return Families(n, named, rho, n / (1 + (mean_size - 1) * rho))
