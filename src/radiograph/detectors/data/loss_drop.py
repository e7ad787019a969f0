"""How much more the candidate learned the training rows that stand out most than the row in the middle, in nats.

Mean loss drop of the leading twentieth of rows, less the median over all rows; needs `--train-data`; 0 for equal
models.
"""

from __future__ import annotations

from radiograph.detectors._measured import Measured
from radiograph.evidence import Estimate

VERSION = 1
TIER = 5
READS = ("rows",)
FLOOR = 0.05


def run(measurement: Measured) -> Estimate:
    """Top of the rows over their middle."""
    found = measurement.rows
    return Estimate(value=found.top_drop, n=found.n, unit="nats per token", null=0.0)
