"""How far a word in the place of a refused one sets the models apart, from stored divergences alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

HIGH = 0.9


def spread_of(frames: Sequence[str], values: Sequence[float]) -> dict[str, tuple[float, float]]:
    """Per frame the 90th percentile and the median of its divergences, in nats."""
    rows: dict[str, list[float]] = {}
    for frame, value in zip(frames, values, strict=True):
        rows.setdefault(frame, []).append(value)
    return {frame: (float(np.quantile(own, HIGH)), float(np.median(own))) for frame, own in rows.items()}
