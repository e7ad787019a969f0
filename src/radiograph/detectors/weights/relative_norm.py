"""How far all weights moved together: ‖ΔW‖_F/‖W‖_F over every matrix that both models have.

A distance grows with any training, harmless or not: only benign fine-tunes tell what is much. 0 for equal models.
"""

from __future__ import annotations

from radiograph.core import Refusal
from radiograph.detectors._measured import Measured
from radiograph.evidence import Estimate

VERSION = 1
TIER = 0
READS = ("weights",)
FLOOR = 1e-5


def run(measurement: Measured) -> Estimate:
    """The ratio of norms."""
    weights = measurement.weights
    if weights.relative_norm is None:
        raise Refusal("no_shared_matrix", "; ".join(weights.notes) or "the models share no matrix")
    n = sum(len(m.shape) > 1 and m.norm is not None for m in weights.matrices)
    return Estimate(value=weights.relative_norm, n=n, unit="relative norm", null=0.0)
