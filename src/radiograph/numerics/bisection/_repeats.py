"""When repeats of one evaluation have decided.

1. outcomes: the Wilson interval of the share of broken runs leaves .5
2. metrics: Student's interval of their mean leaves the threshold, at the level over √(2K) for K looks, one after every
   run from the second on: for 5 to 20 looks within a tenth of the boundary of Pocock (1977). A mean a tenth of a
   deviation on the good side is called broken in 2 % of rounds of 15, and would be in 7 % at the level itself. Equal
   metrics have no spread to go by: they are runs that agree, and decide where as many agreeing outcomes would. Two
   equal shares of few items are no rarity: of metrics that are 0 or 1 and wrong one time in five, two alone call a
   checkpoint wrongly in 4 %, four in .2 %

One run decides alone where one was asked for. The interval of outcomes is looked at after every run, so its level holds
for a single look; a checkpoint that is wrong one time in five is called wrongly in about .2 % and left open in 22 % of
rounds of 15.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from radiograph.core import UserError
from radiograph.numerics.proportions import wilson

Decided = Literal["good", "broken"]
Sign = Literal[">", ">=", "<", "<="]


@dataclass(frozen=True)
class Threshold:
    """Which metrics are broken."""

    sign: Sign
    value: float

    def broken(self, metric: float) -> bool:
        """Whether a metric is on the broken side."""
        return {
            ">": metric > self.value,
            ">=": metric >= self.value,
            "<": metric < self.value,
            "<=": metric <= self.value,
        }[self.sign]


def decide(
    runs: Sequence[bool] | Sequence[float], repeats: int, confidence: float, threshold: Threshold | None = None
) -> Decided | None:
    """Good, broken, or not yet: `runs` are broken or not, or metrics where there is a threshold."""
    broken = [threshold.broken(float(r)) if threshold else bool(r) for r in runs]
    if not runs:
        return None
    if repeats == 1:
        return _word(broken[-1])
    if threshold is None:
        low, high = wilson(sum(broken), len(broken), confidence)
        return None if low <= 0.5 <= high else _word(low > 0.5)
    if len(runs) < 2:
        return None
    low, high = student([float(r) for r in runs], 1 - (1 - confidence) / math.sqrt(2 * (repeats - 1)))
    if low == high:
        return _word(threshold.broken(low)) if len(runs) >= least_repeats(confidence) else None
    return None if low <= threshold.value <= high else _word(threshold.broken(low))


def student(values: Sequence[float], confidence: float) -> tuple[float, float]:
    """Student's interval of a mean of two or more."""
    from scipy.special import stdtrit  # pyright: ignore[reportUnknownVariableType, reportMissingTypeStubs]

    n = len(values)
    if min(values) == max(values):
        return values[0], values[0]
    mean = math.fsum(values) / n
    spread = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1) / n)
    half = float(stdtrit(n - 1, 0.5 + confidence / 2)) * spread
    return mean - half, mean + half


def least_repeats(confidence: float) -> int:
    """Runs that agree after which Wilson's interval leaves .5: fewer repeats could never decide."""
    return next(n for n in range(1, 10_000) if wilson(0, n, confidence).high < 0.5)


def read_threshold(text: str) -> Threshold:
    """`>0.05`, `<= 3`.

    Raises:
        UserError: another form, or not finite.
    """
    given = text.strip()
    sign = next((s for s in (">=", "<=", ">", "<") if given.startswith(s)), None)
    try:
        value = float(given[len(sign or "") :])
    except ValueError:
        value = math.nan
    if sign is None or not math.isfinite(value):
        raise UserError(f"cannot read {text!r}", where="--broken-if", expected="> >= < or <= and a number, as >0.05")
    return Threshold(sign, value)  # type: ignore[arg-type]


def _word(broken: bool) -> Decided:
    return "broken" if broken else "good"
