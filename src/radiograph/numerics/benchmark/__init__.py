"""How well detectors tell planted changes from harmless ones: rates, ROC, uniformity, verdict tables."""

from radiograph.numerics.benchmark.rates import Rate, rate, threshold_at
from radiograph.numerics.benchmark.roc import Gap, auroc, auroc_gap, roc_curve, shuffled_auroc
from radiograph.numerics.benchmark.uniformity import (
    BINS,
    Uniformity,
    histogram,
    ks_distance,
    randomised_p,
    split_p,
    uniformity,
)

__all__ = [
    "BINS",
    "Gap",
    "Rate",
    "Uniformity",
    "auroc",
    "auroc_gap",
    "histogram",
    "ks_distance",
    "randomised_p",
    "rate",
    "roc_curve",
    "shuffled_auroc",
    "split_p",
    "threshold_at",
    "uniformity",
]
