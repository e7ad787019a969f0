"""Floor 1: mathematics on arrays. No files, no models, no state; SciPy is imported where it is used."""

from radiograph.numerics.proportions import (
    Interval,
    PairedTable,
    clopper_pearson,
    drop_bound,
    fisher_greater,
    holm,
    mcnemar,
    newcombe,
    wilson,
)

__all__ = [
    "Interval",
    "PairedTable",
    "clopper_pearson",
    "drop_bound",
    "fisher_greater",
    "holm",
    "mcnemar",
    "newcombe",
    "wilson",
]
