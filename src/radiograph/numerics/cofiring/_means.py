"""How exactly a mean over tokens is known where tokens come in texts, from sums alone.

A = Σ e / Σ n over texts, e a text's sum and n its tokens. Texts differ and tokens of one text are alike, so what varies
is the text: error² = T/(T−1) · Σ (e − A n)² / N², the linearised error of a ratio (Cochran 1977, 6.3), and
Σ (e − A n)² = Σ e² − 2A Σ e n + A² Σ n². Three sums for every mean, which merge as any sum does.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from radiograph.core.shapes import Float64

LEAST_TEXTS: Final = 6
"""Texts below which there is no interval: five values of one sign happen by chance once in sixteen."""


class Spread(NamedTuple):
    """Of what is summed, without the terms themselves."""

    tokens: int
    """N = Σ n."""
    squared: float
    """Σ n²."""
    texts: int
    slack: float = 0.0
    """By how much Σ e² and Σ e n may be wrong: both were rounded."""


def errors(
    total: Float64[np.ndarray, "..."],
    squares: Float64[np.ndarray, "..."],
    products: Float64[np.ndarray, "..."],
    spread: Spread,
) -> Float64[np.ndarray, "..."]:
    """Standard errors of the means total / tokens; NaN of fewer than `LEAST_TEXTS`. What rounding may hide is added."""
    if spread.texts < LEAST_TEXTS:
        return np.full(np.shape(total), np.nan)
    mean = total / spread.tokens
    about = squares - 2 * mean * products + np.square(mean) * spread.squared
    about = np.maximum(about, 0.0) + spread.slack * (1 + 2 * np.abs(mean))
    return np.sqrt(about * (spread.texts / (spread.texts - 1))) / spread.tokens


def half_width(texts: int, confidence: float = 0.95) -> float:
    """Standard errors between a mean over texts and the ends of its interval."""
    from scipy import special  # pyright: ignore[reportMissingTypeStubs]

    if texts < LEAST_TEXTS:
        return float("nan")
    known: Any = special
    return float(known.stdtrit(texts - 1, 0.5 + confidence / 2))
