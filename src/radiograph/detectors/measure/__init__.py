"""What detectors look at: each part of a comparison, measured once.

Weights are compared without torch, so what needs it is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from radiograph.core import deferred

if TYPE_CHECKING:
    from radiograph.detectors.measure._banks import Banks, render
    from radiograph.detectors.measure._checks import Oracle, evaluate, is_refusal
    from radiograph.detectors.measure._encoding import Pooled, encode_pair, kept_tokens, site_rows
    from radiograph.detectors.measure._evidence import explain_prompts
    from radiograph.detectors.measure._features import measure_features
    from radiograph.detectors.measure._measurement import Measurement
    from radiograph.detectors.measure._weights import measure_weights, relative_norm, top_share


__all__ = [
    "Banks",
    "Measurement",
    "Oracle",
    "Pooled",
    "encode_pair",
    "evaluate",
    "explain_prompts",
    "is_refusal",
    "kept_tokens",
    "measure_features",
    "measure_weights",
    "relative_norm",
    "render",
    "site_rows",
    "top_share",
]

__getattr__ = deferred(__name__, __file__)
