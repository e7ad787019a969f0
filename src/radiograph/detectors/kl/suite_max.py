"""The largest mean KL(candidate || reference) of any suite prompt, in nats per token.

Mean over the tokens of prompt and the reference's greedy answer, maximum over prompts; 0 for equal models.
"""

from __future__ import annotations

from radiograph.detectors._measured import Measured
from radiograph.evidence import Estimate

VERSION = 1
TIER = 1
READS = ("behaviour", "neutral")
FLOOR = 1e-4


def run(measurement: Measured) -> Estimate:
    """Maximum over items."""
    return measurement.divergence("suite_max")
