"""Where a history of checkpoints broke: which one to look at next, what follows, and when repeats have decided."""

from radiograph.numerics.bisection._repeats import (
    Decided,
    Threshold,
    decide,
    least_repeats,
    read_threshold,
    student,
)
from radiograph.numerics.bisection._search import Ask, Conclusion, Phase, Plan, Seen, Verdict, conclude, least, next_ask

__all__ = [
    "Ask",
    "Conclusion",
    "Decided",
    "Phase",
    "Plan",
    "Seen",
    "Threshold",
    "Verdict",
    "conclude",
    "decide",
    "least",
    "least_repeats",
    "next_ask",
    "read_threshold",
    "student",
]
