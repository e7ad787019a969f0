"""Is the shift the same for every prompt, borne by few prompts, and visible in the dictionary at all?

1. Prompt-invariant share of the raw differences d: s = P‖d̄‖²/Σ‖d_p‖², freed of the 1/P that P unrelated vectors give,
   (P·s − 1)/(P − 1), cut to [0, 1]. 1: one drift for all; 0: nothing in common.
2. Gini coefficient of ‖c_p‖² over prompts: 0 when all prompts shift alike, 1 − 1/P when one bears it all.
3. Effective rank of the corrected differences C, exp(entropy of normalised σ²), from the P × P Gram matrix.
4. Share outside the dictionary: Σ‖Δx − Δx̂‖²/Σ‖Δx‖² over tokens, Δx̂ the difference of the decoded codes. Not cut: above
   1 the dictionary adds error of its own. Above .5 most of the shift is invisible, and features prove no absence.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from radiograph.core import Refusal
from radiograph.core.shapes import Float, Float64
from radiograph.numerics._finite import finite
from radiograph.numerics.spectra import effective_rank


@dataclass(frozen=True)
class Specificity:
    """How a shift is spread over prompts."""

    invariant_share: float
    gini: float
    effective_rank: float
    prompts: int


def specificity(
    differences: Float[np.ndarray, "prompt feature"], corrected: Float[np.ndarray, "prompt feature"]
) -> Specificity | Refusal:
    """Spread of a shift; `differences` raw, `corrected` without drift.

    Returns:
        the three numbers, or a Refusal: `one_prompt`, or `no_shift` where either is exactly zero.
    """
    d, c = finite(differences, "differences"), finite(corrected, "corrected differences")
    prompts = len(d)
    if prompts < 2:
        return Refusal("one_prompt", "the spread over prompts needs two of them", got=str(prompts))
    total = float(np.einsum("pf,pf->", d, d))
    amounts = np.einsum("pf,pf->p", c, c)
    if total == 0 or not amounts.any():
        return Refusal("no_shift", "no feature moved, so there is no shift to spread")
    mean = d.mean(axis=0)
    share = prompts * float(mean @ mean) / total
    return Specificity(
        invariant_share=min(1.0, max(0.0, (prompts * share - 1) / (prompts - 1))),
        gini=gini(amounts),
        effective_rank=effective_rank(_energies(c)),
        prompts=prompts,
    )


def _energies(c: Float64[np.ndarray, "prompt feature"]) -> Float64[np.ndarray, " rank"]:
    """Squared singular values, from the Gram matrix of the shorter side."""
    gram = c.T @ c if len(c) > c.shape[1] else c @ c.T
    return np.maximum(np.linalg.eigvalsh(gram), 0.0)


def gini(amounts: Float[np.ndarray, " row"]) -> float:
    """Σ_ij |x_i − x_j| / (2 n Σ x) of amounts ≥ 0: 0 when equal, 1 − 1/n when one holds all; 0 without any."""
    x = np.sort(finite(amounts, "amounts"))
    total = float(x.sum())
    if total == 0:
        return 0.0
    n = len(x)
    return float((2 * np.arange(1, n + 1) - n - 1) @ x) / (n * total)


def share_outside(
    chunks: Iterable[tuple[Float[np.ndarray, "token width"], Float[np.ndarray, "token width"]]],
) -> float | Refusal:
    """Share of the activation shift that the dictionary does not carry, from chunks of (Δx, Δx̂).

    Returns:
        the share, or a Refusal (`no_shift`) where no activation moved.
    """
    missed = total = 0.0
    for shift, explained in chunks:
        whole = finite(shift, "activation shift")
        rest: Float64[np.ndarray, "token width"] = whole - finite(explained, "decoded shift")
        missed += float(np.einsum("tw,tw->", rest, rest))
        total += float(np.einsum("tw,tw->", whole, whole))
    if total == 0:
        return Refusal("no_shift", "no activation moved, so no share of a shift lies outside the dictionary")
    return missed / total
