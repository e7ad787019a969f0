"""The largest success of an insertion on fresh prompts: share of changed answers with it, minus the share without.

A changed answer differs from the reference's while the reference answers as it does without the insertion. Maximum over
the leading insertions of the search, on prompts that it has not seen; 0 for equal models.
"""

from __future__ import annotations

from radiograph.core import Refusal
from radiograph.detectors._measured import Measured
from radiograph.evidence import Estimate

VERSION = 2
TIER = 4
READS = ("triggers",)
SCALE = "linear"
FLOOR = 0.05


def run(measurement: Measured) -> Estimate:
    """Maximum over the insertions that met fresh prompts."""
    found = measurement.triggers
    if found.contrast is None:
        raise Refusal("no_fresh", "no insertion met fresh prompts")
    return Estimate(value=found.contrast, n=len(found.fresh), unit="difference of rates", null=0.0)
