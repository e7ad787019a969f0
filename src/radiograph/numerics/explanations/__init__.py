"""What tells the tokens on which a feature fires from the others, and how well words, rules and judges say so."""

from radiograph.numerics.explanations.log_odds import Contrast, contrast
from radiograph.numerics.explanations.rules import AND, LITERALS, NOT, OR, Rules, applied, learn
from radiograph.numerics.explanations.scores import (
    Counted,
    Scored,
    balanced_accuracy,
    balanced_interval,
    correlation,
    counted,
    f1,
    f1_limits,
    mean_limits,
)
from radiograph.numerics.explanations.sparse import Sparse, csr, marked, ones, owners, scaled
from radiograph.numerics.explanations.terms import Grams, grams
from radiograph.numerics.explanations.vectors import RoundTrip, round_trip
from radiograph.numerics.explanations.windows import Windows, peaks, windows_of

__all__ = [
    "AND",
    "LITERALS",
    "NOT",
    "OR",
    "Contrast",
    "Counted",
    "Grams",
    "RoundTrip",
    "Rules",
    "Scored",
    "Sparse",
    "Windows",
    "applied",
    "balanced_accuracy",
    "balanced_interval",
    "contrast",
    "correlation",
    "counted",
    "csr",
    "f1",
    "f1_limits",
    "grams",
    "learn",
    "marked",
    "mean_limits",
    "ones",
    "owners",
    "peaks",
    "round_trip",
    "scaled",
    "windows_of",
]
