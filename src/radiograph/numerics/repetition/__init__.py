"""Whether a text has collapsed: loops of any period, salad, symbols, and the calibrated score."""

from radiograph.numerics.repetition._contingency import Contingency, contingency
from radiograph.numerics.repetition._legacy import LEGACY_METRICS, legacy_collapsed, legacy_metrics
from radiograph.numerics.repetition._loops import Loop, Loops, loops
from radiograph.numerics.repetition._score import (
    FEATURES,
    CollapseScore,
    Fit,
    Judged,
    Kind,
    Letters,
    fit,
    healthy_ratios,
    reliability,
    roc_area,
    threshold_at,
)
from radiograph.numerics.repetition._text import SHORTEST, TextMetrics, pieces, text_metrics, token_count

__all__ = [
    "FEATURES",
    "LEGACY_METRICS",
    "SHORTEST",
    "CollapseScore",
    "Contingency",
    "Fit",
    "Judged",
    "Kind",
    "Letters",
    "Loop",
    "Loops",
    "TextMetrics",
    "contingency",
    "fit",
    "healthy_ratios",
    "legacy_collapsed",
    "legacy_metrics",
    "loops",
    "pieces",
    "reliability",
    "roc_area",
    "text_metrics",
    "threshold_at",
    "token_count",
]
