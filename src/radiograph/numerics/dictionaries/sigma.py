"""Pre-activations to codes, for NumPy arrays: what `dictionaries.activations` does for tensors, value for value.

    relu      max(π, 0)                                   topk      the k largest of π·w, positive ones kept
    jumprelu  π where π·w > θ                             abstopk   the k largest of |π|·w, with their signs
    gated     [π + b_gate > 0]·max(eʳ⊙π + b_mag, 0)       groupmax  the largest of π·w in each of k groups, if positive
    identity  π, for units and directions: every value is a code

The first three and `identity` look at one feature at a time (`POINTWISE`), so that blocks of features may be encoded by
themselves; the others compare features. Ties go to the lower index. `pursuit` reads rows, not pre-activations.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from radiograph.core.shapes import Float

POINTWISE: Final = ("relu", "jumprelu", "gated", "identity")
KNOWN: Final = (*POINTWISE, "topk", "abstopk", "groupmax")


def codes_of(
    name: str,
    pre: Float[np.ndarray, "row feature"],
    parameters: Mapping[str, Float[np.ndarray, " feature"]],
    constants: Mapping[str, Any],
    weights: Float[np.ndarray, " feature"] | None = None,
) -> Float[np.ndarray, "row feature"]:
    """The dense codes of pre-activations, which may be overwritten; `weights` multiply them where they are compared."""
    match name:
        case "identity":
            return pre
        case "relu":
            return np.maximum(pre, 0, out=pre)
        case "jumprelu":
            scores = pre if weights is None else pre * weights
            pre *= scores > parameters["threshold"]
            return pre
        case "gated":
            open_ = pre + parameters["gate_bias"] > 0
            pre *= np.exp(parameters["magnitude_log_scale"])
            pre += parameters["magnitude_bias"]
            np.maximum(pre, 0, out=pre)
            pre *= open_
            return pre
        case "topk":
            kept = _largest(pre if weights is None else pre * weights, int(constants["k"]))
            return np.maximum(np.where(kept, pre, 0), 0)
        case "abstopk":
            return np.where(
                _largest(np.abs(pre) if weights is None else np.abs(pre) * weights, int(constants["k"])), pre, 0
            )
        case "groupmax":
            return _group_maxima(pre, int(constants["k"]), weights)
        case _:
            raise ValueError(f"no such nonlinearity: {name}")


def _largest(scores: NDArray[Any], k: int) -> NDArray[np.bool_]:
    """Where the k largest of each row are."""
    width = scores.shape[1]
    bound = np.partition(scores, width - k, axis=1)[:, [width - k]]
    above = scores > bound
    # Of those that equal the bound, the first ones fill up.
    level = scores == bound
    room = k - above.sum(1, keepdims=True)
    return above | (level & (np.cumsum(level, axis=1) <= room))


def _group_maxima(pre: NDArray[Any], k: int, weights: NDArray[Any] | None) -> NDArray[Any]:
    scores = pre if weights is None else pre * weights
    group = pre.shape[1] // k
    best = scores.reshape(len(pre), k, group).argmax(2) + np.arange(k) * group
    found = np.zeros_like(pre)
    np.put_along_axis(found, best, np.maximum(np.take_along_axis(pre, best, 1), 0), 1)
    return found
