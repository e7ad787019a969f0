"""How good a decomposition is, on inputs that no step saw; every number with its n and what it is compared with."""

from __future__ import annotations

from radiograph.decompose.metrics._attacked import Attacks, attacked
from radiograph.decompose.metrics._firing import Firing, firing
from radiograph.decompose.metrics._masked import CONDITIONS, MaskedRow, masked_rows
from radiograph.decompose.metrics._recovery import Truth, WeightRecovery, importance_matrix, recovered

__all__ = [
    "CONDITIONS",
    "Attacks",
    "Firing",
    "MaskedRow",
    "Truth",
    "WeightRecovery",
    "attacked",
    "firing",
    "importance_matrix",
    "masked_rows",
    "recovered",
]
