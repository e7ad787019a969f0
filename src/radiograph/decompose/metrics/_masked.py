"""What is left of the target under masks: per document (or row of vectors), so that whoever reads it can resample.

Masks: `importance`, `unmasked` (ones), `stochastic`, `random`, `rounded`, `zero`; Δ off but where the source draws it.
Tokens: KL(target ‖ masked) and cross-entropy of the next token, sums over positions. Vectors: squared error against the
target's own output, sum over rows; their cross-entropy is not measured.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from radiograph.decompose._decomposition import Decomposition
from radiograph.decompose.masks import drawn
from radiograph.models.masked import Target

CONDITIONS: Final = {
    "importance": "importance",
    "unmasked": "ones",
    "stochastic": "continuous",
    "random": "random",
    "rounded": "rounded",
    "zero": "zeros",
}
"""Condition to mask source."""


@dataclass(frozen=True, slots=True)
class MaskedRow:
    """One document (or row) under one condition."""

    condition: str
    row: int
    positions: int
    """With a next token; of vectors, 1."""
    distance: float
    """KL, or squared error (mean over the width): sum over positions."""
    ce: float | None
    """Cross-entropy, sum over positions that have a next token."""
    ce_target: float | None


def masked_rows(
    decomposition: Decomposition,
    target: Target,
    batches: Iterable[Tensor],
    generator: torch.Generator,
    *,
    threshold: float = 0.0,
) -> list[MaskedRow]:
    """Every condition on every row of the batches."""
    found: list[MaskedRow] = []
    start = 0
    for inputs in batches:
        with torch.no_grad():
            seen = decomposition.observe(target, inputs)
            for condition, source in CONDITIONS.items():
                masks = drawn(source, seen.raw, seen.lower, decomposition.squash, generator, threshold=threshold)
                output = decomposition.run(target, inputs, masks)
                found += _rows(condition, start, target, inputs, seen.output, output)
        start += len(inputs)
    return found


def _rows(
    condition: str, start: int, target: Target, inputs: Tensor, reference: Tensor, output: Tensor
) -> list[MaskedRow]:
    if not target.tokens:
        errors = (output - reference).square().mean(-1).double().tolist()
        return [MaskedRow(condition, start + i, 1, e, None, None) for i, e in enumerate(errors)]
    ours, theirs = reference.float().log_softmax(-1), output.float().log_softmax(-1)
    kl = nn.functional.kl_div(theirs, ours, reduction="none", log_target=True).sum(-1)[:, :-1].double().sum(1)
    ce = _ce(theirs, inputs)
    ce_target = _ce(ours, inputs)
    positions = inputs.shape[1] - 1
    return [
        MaskedRow(condition, start + i, positions, float(kl[i]), float(ce[i]), float(ce_target[i]))
        for i in range(len(inputs))
    ]


def _ce(logs: Tensor, ids: Tensor) -> Tensor:
    return -logs[:, :-1].gather(-1, ids[:, 1:, None])[..., 0].double().sum(1)
