"""Mean KL(candidate || reference) on neutral text, in nats per token.

Mean over texts of each text's mean; interval by bootstrap over texts; 0 for equal models.
"""

from __future__ import annotations

from radiograph.detectors._measured import Measured
from radiograph.evidence import Estimate

VERSION = 1
TIER = 1


def run(measurement: Measured) -> Estimate:
    """The neutral bank's mean."""
    return measurement.divergence("neutral")
