"""What changes with the step: learning rate, sparsity, k, and when something is done.

1. rate: linear warm-up over min(1000, 5 %) of the steps, constant, linear to 0 over the last 20 %   2. λ: linear from 0
over the first 5 %   3. k: constant, or falling linearly from four times its value over a stated share   4. marks:
validation twenty times, resampling of dead features at 20, 40 and 60 %, about 500 logged steps
Steps are counted from 0. All of it depends on (step, steps) alone.
"""

from __future__ import annotations

from typing import Final

WARM_UP_STEPS: Final = 1_000
WARM_UP_SHARE: Final = 0.05
DECAY_SHARE: Final = 0.2
RAMP_SHARE: Final = 0.05
K_START: Final = 4
VALIDATIONS: Final = 20
LOGGED: Final = 500
RESAMPLED: Final = (0.2, 0.4, 0.6)


def rate_factor(step: int, steps: int) -> float:
    """Factor on the peak rate: above 0 at every step."""
    warm_up = min(WARM_UP_STEPS, int(WARM_UP_SHARE * steps))
    decay = int(DECAY_SHARE * steps)
    rising = (step + 1) / (warm_up + 1)
    falling = (steps - step) / (decay + 1)
    return min(1.0, rising, falling)


def ramp(step: int, steps: int) -> float:
    """Factor on λ."""
    return min(1.0, step / max(1, int(RAMP_SHARE * steps)))


def annealed(k: int, share: float, step: int, steps: int, size: int) -> int:
    """The k of a step; never above the number of features."""
    left = 1 - step / (share * steps) if share else 0.0
    return min(size, round(k * (1 + (K_START - 1) * max(0.0, left))))


def marks(steps: int) -> frozenset[int]:
    """Steps after which validation rows are measured, the last among them."""
    return frozenset(-(-steps * (i + 1) // VALIDATIONS) for i in range(VALIDATIONS))


def logged(step: int, steps: int) -> bool:
    """Whether a finished step stands in the log."""
    return step % max(1, steps // LOGGED) == 0 or step in marks(steps)


def resampled(step: int, steps: int) -> bool:
    """Whether dead features start again after a step."""
    return step in {round(share * steps) for share in RESAMPLED}
