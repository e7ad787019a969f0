"""Learning rate: linear warm-up over min(1000, 5 %) of the steps, constant, linear to 0 over the last 20 %."""

from __future__ import annotations

from typing import Final

WARM_UP_STEPS: Final = 1_000
WARM_UP_SHARE: Final = 0.05
DECAY_SHARE: Final = 0.2


def rate_factor(step: int, steps: int) -> float:
    """Factor on the peak rate at `step` of `steps`, counted from 0: above 0 at every step."""
    warm_up = min(WARM_UP_STEPS, int(WARM_UP_SHARE * steps))
    decay = int(DECAY_SHARE * steps)
    rising = (step + 1) / (warm_up + 1)
    falling = (steps - step) / (decay + 1)
    return min(1.0, rising, falling)
