"""How many features move more than they do in benign fine-tunes: the largest z-scores, summed over features.

a_j: mean over prompts of the size of feature j's shift, less the neutral bank's, in standard deviations of the
reference; z_j against all other models, with shrunk variances; the 50 largest max(z_j, 0) are summed
(`numerics.calibration.outliers`); 0 for an equal model. Needs a calibration.
"""

from __future__ import annotations

import numpy as np

from radiograph.detectors._measured import Measured
from radiograph.numerics.calibration import outlier_scores

VERSION = 1
TIER = 3
READS = ("features",)
FLOOR = 0.1
K = 50


def summarise(measurement: Measured) -> np.ndarray:
    """a_j of every feature, float32."""
    shifts = measurement.features
    scaled = shifts.in_sd(shifts.method("neutral_drift"))
    # A prompt that is asked twice counts once.
    _, first = np.unique(shifts.distinct, return_index=True)
    return np.abs(scaled[first]).mean(axis=0).astype(np.float32)


def score(pool: np.ndarray) -> np.ndarray:
    """Every model of [model, feature] against all others, float64."""
    return outlier_scores(pool, K)
