"""How far the mean activation shifts on neutral text stand outside those of other fine-tunes, whitened.

delta at the residual stream after the middle and the last block, at positions 0 to 4 and the mean of the rest; largest
squared Mahalanobis length over these, per dimension, by a Ledoit-Wolf fit on all other models
(`numerics.traces.lens`): 1 is usual, 0 is an equal model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from radiograph.numerics.traces import lens_scores

if TYPE_CHECKING:
    from radiograph.detectors.measure import Measurement

VERSION = 1
TIER = 2
READS = ("lens",)
FLOOR = 0.1


def summarise(measurement: Measurement) -> np.ndarray:
    """The shifts, [place, width], float32."""
    delta = measurement.shifts.delta
    return delta.reshape(-1, delta.shape[-1]).astype(np.float32)


def score(pool: np.ndarray) -> np.ndarray:
    """Every model of [model, place, width] against all others, float64."""
    return lens_scores(pool)
