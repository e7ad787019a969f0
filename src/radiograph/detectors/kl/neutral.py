"""Mean KL(candidate || reference) on neutral text, in nats per token.

Mean over texts of each text's mean; interval by bootstrap over texts; 0 for equal models.
"""

from __future__ import annotations

from radiograph.detectors._measured import Measured, mean_kl
from radiograph.evidence import Estimate

VERSION = 1
TIER = 1
READS = ("neutral",)
FLOOR = 1e-6


def run(measurement: Measured) -> Estimate:
    """The neutral bank's mean."""
    return mean_kl(measurement.neutral.kl_mean, measurement.seed)
