"""The k largest feature differences after the mean of all other paraphrase groups is taken out.

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
    return measurement.features.estimate("leave_group_out")
