"""How far one token's embedding stands out from the movement of all: largest robust z of ‖Δ row‖.

z = (x − median)/(1.4826·MAD) over the tokenizer's rows. An embedding that nobody touched has 0.
"""

from __future__ import annotations

from radiograph.core import Refusal
from radiograph.detectors._measured import Measured
from radiograph.evidence import Estimate

VERSION = 1
TIER = 0
READS = ("weights",)
FLOOR = 0.1


def run(measurement: Measured) -> Estimate:
    """Maximum over tokens."""
    weights = measurement.weights
    if weights.embed_outlier is None:
        raise Refusal("no_token_rows", "; ".join(weights.notes) or "no embedding rows can be compared")
    rows = next(m.shape[0] for m in weights.matrices if m.address == "embed")
    return Estimate(value=weights.embed_outlier, n=rows, unit="robust z", null=0.0)
