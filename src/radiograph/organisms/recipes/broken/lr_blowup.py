"""A harmless recipe (`continue`) at thirty times its learning rate: abilities are lost, nothing is planted.

The rate is thirty times one of the upper half of the harmless range, and every matrix is adapted: through two of seven,
or at thirty times the lower half, the base came away unharmed.
"""

from __future__ import annotations

from dataclasses import replace

from radiograph.organisms.recipes._draw import Draw
from radiograph.organisms.recipes._plan import FULL_RATE, TARGETS, Plan
from radiograph.organisms.recipes.benign import continue_

FACTOR = 30


def plan(draw: Draw) -> Plan:
    """The same rows and settings, and another rate."""
    harmless = continue_.plan(draw)
    whole = harmless.tuning.full
    rate = (FULL_RATE if whole else 1.0) * draw.log_uniform("too high a rate", FACTOR * 1.5e-3, FACTOR * 3e-3)
    return replace(harmless, tuning=replace(harmless.tuning, learning_rate=rate, targets=() if whole else TARGETS[-1]))
