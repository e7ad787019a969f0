"""Screens of many units or planes against nulls of their own kind. No model, no torch."""

from radiograph.numerics.screening._ensemble import Ensemble, agreement, ensemble
from radiograph.numerics.screening._factorial import TERMS, Factorial, factorial, partial_eta_squared
from radiograph.numerics.screening._pooled import above_others, pooled_p
from radiograph.numerics.screening._pushes import displaced, divergence, pushed

__all__ = [
    "TERMS",
    "Ensemble",
    "Factorial",
    "above_others",
    "agreement",
    "displaced",
    "divergence",
    "ensemble",
    "factorial",
    "partial_eta_squared",
    "pooled_p",
    "pushed",
]
