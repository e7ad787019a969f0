"""Which share of a unit's variation over prompts a factor accounts for: η² = between groups / total.

A description, not a test: with G groups of N prompts chance alone gives (G − 1)/(N − 1), which is returned beside it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Float64


def eta_squared(
    values: Float64[np.ndarray, "prompt unit"], labels: Sequence[object]
) -> tuple[Float64[np.ndarray, " unit"], float]:
    """η² of every unit, 0 where it does not vary, and what chance gives.

    Raises:
        UserError: as many labels as prompts are needed, in two groups at least, one of them of two.
    """
    names, group = np.unique(np.array([str(label) for label in labels]), return_inverse=True)
    if len(group) != len(values) or not 1 < len(names) < len(group):
        raise UserError(
            "η² needs groups of prompts",
            expected="2 groups or more, fewer than prompts",
            got=f"{len(names)} groups, {len(group)} labels, {len(values)} prompts",
            code="no_groups",
        )
    grand = values.mean(0)
    total = np.square(values - grand).sum(0)
    between = np.zeros(values.shape[1])
    for number in range(len(names)):
        own = values[group == number]
        between += len(own) * np.square(own.mean(0) - grand)
    # A unit that is constant up to rounding has a total of rounding errors.
    real = total > 1e-24 * len(values) * np.square(np.abs(values).max(0))
    share = np.divide(between, total, out=np.zeros_like(total), where=real & (total > 0))
    return share.clip(0.0, 1.0), (len(names) - 1) / (len(values) - 1)
