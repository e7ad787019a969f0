"""How much more the models differ on their worst suite prompt than on neutral text: a ratio of KLs.

`kl.suite_max` over `kl.neutral`, the latter held above 1e-9 nats; 0 for equal models.
"""

from __future__ import annotations

from radiograph.detectors._measured import Measured
from radiograph.evidence import Estimate

VERSION = 1
TIER = 1
READS = ("behaviour", "neutral")
FLOOR = 0.1


def run(measurement: Measured) -> Estimate:
    """The ratio."""
    return measurement.divergence("contrast")
