"""From tokens to prompts: the mean feature activation over the tokens of a prompt that are kept.

`skip_first` keeps every token but the first, whose activation is an outlier in most models; a lone token is kept.
Another rule (dropping special and template tokens) is a mask of the caller's. Tokens of all prompts lie one after the
other; `lengths` says how many belong to each prompt. Sums run in float64; units are those of the activations.
"""

from __future__ import annotations

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Bool, Float, Float64, Int
from radiograph.numerics._finite import finite


def skip_first(lengths: Int[np.ndarray, " prompt"]) -> Bool[np.ndarray, " token"]:
    """Mask of the tokens kept: all but the first of each prompt, and lone tokens."""
    kept = np.ones(int(lengths.sum()), dtype=bool)
    starts = np.cumsum(lengths) - lengths
    kept[starts[lengths > 1]] = False
    return kept


def pool(
    activations: Float[np.ndarray, "token feature"],
    lengths: Int[np.ndarray, " prompt"],
    kept: Bool[np.ndarray, " token"] | None = None,
) -> Float64[np.ndarray, "prompt feature"]:
    """Mean over kept tokens (`skip_first` by default).

    Raises:
        UserError: lengths that do not add up, a prompt that keeps no token, an activation that is not finite.
    """
    mask, prompts, counts = _layout(lengths, kept, len(activations))
    values = finite(activations, "activations")[mask]
    starts = np.searchsorted(prompts[mask], np.arange(len(lengths)))
    return np.add.reduceat(values, starts, axis=0) / counts[:, None]


def pool_sparse(
    token: Int[np.ndarray, " entry"],
    feature: Int[np.ndarray, " entry"],
    value: Float[np.ndarray, " entry"],
    lengths: Int[np.ndarray, " prompt"],
    features: int,
    kept: Bool[np.ndarray, " token"] | None = None,
) -> Float64[np.ndarray, "prompt feature"]:
    """`pool` of activations given as (token, feature, value) entries; what is not listed is zero.

    Raises:
        UserError: as `pool`.
    """
    mask, prompts, counts = _layout(lengths, kept, int(lengths.sum()))
    weights = finite(value, "activations") * mask[token]
    flat = np.bincount(prompts[token] * features + feature, weights, minlength=len(lengths) * features)
    return flat.reshape(len(lengths), features) / counts[:, None]


def _layout(
    lengths: Int[np.ndarray, " prompt"], kept: Bool[np.ndarray, " token"] | None, tokens: int
) -> tuple[Bool[np.ndarray, " token"], Int[np.ndarray, " token"], Int[np.ndarray, " prompt"]]:
    """Kept tokens, the prompt of each token, and how many each prompt keeps."""
    if (lengths < 1).any() or int(lengths.sum()) != tokens:
        raise UserError(
            "prompt lengths must be positive and add up to the tokens", got=f"{int(lengths.sum())}, {tokens}"
        )
    mask = skip_first(lengths) if kept is None else kept
    prompts = np.repeat(np.arange(len(lengths)), lengths)
    counts = np.bincount(prompts[mask], minlength=len(lengths))
    if (counts == 0).any():
        raise UserError("a prompt keeps no token", where=f"prompt {int(counts.argmin())}")
    return mask, prompts, counts
