"""The largest gain of an insertion: how far it sets the models apart on any prompt, in nats.

J: mean KL(candidate || reference) over the reference's answer after the insertion, minus the median over random
insertions of equal length (`measure.search`); the maximum over everything that the search tried; 0 for equal models.
"""

from __future__ import annotations

from radiograph.detectors._measured import Measured
from radiograph.evidence import Estimate

VERSION = 2
TIER = 4
READS = ("triggers",)
FLOOR = 0.05


def run(measurement: Measured) -> Estimate:
    """Maximum over insertions."""
    found = measurement.triggers
    return Estimate(value=found.gain, n=len(found.carriers), unit="nats per token", null=0.0)
