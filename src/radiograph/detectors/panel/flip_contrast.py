"""The largest flip rate of a paraphrase group, category or factor level, minus the rate in the rest of its bank.

A flip is an item whose checks pass in exactly one model. Sets of fewer than 20 scored items say nothing and are left
out; a set is compared with the rest of its own bank and task, so that a task lost as a whole does not look like a
narrow change (`numerics.flip_contrasts`).
"""

from __future__ import annotations

from radiograph.core import Refusal
from radiograph.detectors._measured import Measured
from radiograph.detectors._sets import contrasts, members, scored
from radiograph.evidence import Estimate

VERSION = 1
TIER = 1
READS = ("behaviour",)
SCALE = "linear"
FLOOR = 0.02


def run(measurement: Measured) -> Estimate:
    """Maximum over sets."""
    items = scored(measurement.behaviour)
    found = contrasts(items)
    if found.largest is None:
        sets = len(members(items))
        raise Refusal("no_sets", f"no group or factor level has 20 scored items and others beside it ({sets} sets)")
    return Estimate(value=found.largest, n=len(items), unit="difference of rates", null=0.0)
