"""The most one-sided change of any matrix: largest σ₁²/Σσ² of ΔW.

1 is a change of rank one, which low-rank adapters and targeted edits come close to. 0 for equal models.
"""

from __future__ import annotations

from radiograph.core import Refusal
from radiograph.detectors._measured import Measured
from radiograph.evidence import Estimate

VERSION = 1
TIER = 0
READS = ("weights",)
SCALE = "linear"
FLOOR = 0.02


def run(measurement: Measured) -> Estimate:
    """Maximum over matrices."""
    weights = measurement.weights
    if weights.top_share is None:
        raise Refusal("no_shared_matrix", "; ".join(weights.notes) or "the models share no matrix")
    n = sum(m.top_share is not None for m in weights.matrices)
    return Estimate(value=weights.top_share, n=n, unit="share of energy", null=0.0)
