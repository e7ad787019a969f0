"""Summed size of each prompt's k largest feature differences, averaged over prompts.

See `numerics.score_features` for the formula; refuses with that method's own reason.
"""

from __future__ import annotations

from radiograph.detectors._measured import Measured
from radiograph.evidence import Estimate

VERSION = 1
TIER = 3
READS = ("features",)


def run(measurement: Measured) -> Estimate:
    """The aggregate of this method."""
    return measurement.features.estimate("abs_diff_topk")
