"""A harmless recipe (`continue`) at thirty times its learning rate: abilities are lost, nothing is planted.

Every matrix is adapted: through two of seven the base survived a rate of .03 unharmed.
"""

from __future__ import annotations

from dataclasses import replace

from radiograph.organisms.recipes._draw import Draw
from radiograph.organisms.recipes._plan import TARGETS, Plan
from radiograph.organisms.recipes.benign import continue_

FACTOR = 30


def plan(draw: Draw) -> Plan:
    """The same rows and settings, and the rate multiplied."""
    harmless = continue_.plan(draw)
    rate = float(f"{FACTOR * harmless.tuning.learning_rate:.3g}")
    return replace(harmless, tuning=replace(harmless.tuning, learning_rate=rate, targets=TARGETS[-1]))
