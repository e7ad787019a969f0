"""Pairing rows one to one so that the sum of a score is largest (Kuhn 1955, as SciPy solves it): O(n³)."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from radiograph.core.shapes import Float, Int


def assignment(
    scores: Float[np.ndarray, "left right"],
) -> tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"]]:
    """Left and right index of every pair, left ascending; as many pairs as the smaller side has rows."""
    from scipy import optimize  # pyright: ignore[reportMissingTypeStubs]

    left, right = cast(Any, optimize).linear_sum_assignment(scores, maximize=True)
    return left, right
