"""The largest flip rate of a paraphrase group, category or factor level, minus the rate in the rest of its bank.

A flip is an item whose checks pass in exactly one model. Sets of fewer than 20 scored items say nothing and are left
out; a set is compared with the rest of its own bank and task, so that a task lost as a whole does not look like a
narrow change (`numerics.flip_contrasts`).
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from radiograph.core import Refusal
from radiograph.detectors._measured import Measured, distinct
from radiograph.evidence import Estimate
from radiograph.numerics import flip_contrasts

VERSION = 1
TIER = 1
READS = ("behaviour",)


def run(measurement: Measured) -> Estimate:
    """Maximum over sets."""
    items = [i for i in distinct(measurement.behaviour.items) if all(r.passed is not None for r in i.responses[:2])]
    members: dict[str, list[int]] = defaultdict(list)
    for number, item in enumerate(items):
        if item.group:
            members[f"group={item.group}"].append(number)
        for name, value in item.factors.items():
            members[f"{name}={value}"].append(number)
    sets = {name: np.isin(np.arange(len(items)), numbers) for name, numbers in sorted(members.items())}
    banks = np.array([f"{i.bank}/{i.task or ''}" for i in items])
    found = flip_contrasts(np.array([i.flip for i in items], dtype=bool), banks, sets)
    if found.largest is None:
        raise Refusal(
            "no_sets", f"no group or factor level has 20 scored items and others beside it ({len(sets)} sets)"
        )
    return Estimate(value=found.largest, n=len(items), unit="difference of rates", null=0.0)
