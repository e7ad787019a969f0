"""The vocabulary of causal tests: what an intervention is compared with, and what it shows of each feature."""

from __future__ import annotations

from typing import Final, Literal, get_args

from radiograph.evidence.interventions._effects import (
    Continuations,
    ContrastFacts,
    ControlRow,
    DoseRow,
    Effects,
    FeatureEffect,
    GuardRow,
    InterventionOrder,
    LimitsRecord,
    OrderedCondition,
    OrderedFeature,
    Steering,
)

Control = Literal[
    "placebo",
    "random_direction",
    "covariance_matched",
    "frequency_matched",
    "norm_matched",
    "shuffled_label",
]
CONTROLS: Final[tuple[str, ...]] = get_args(Control)
"""Nothing is changed · a random direction · one with the covariance of the site · a feature that fires as often · a
live feature, rescaled to the same norm · the direction refitted on permuted labels."""

__all__ = [
    "CONTROLS",
    "Continuations",
    "ContrastFacts",
    "Control",
    "ControlRow",
    "DoseRow",
    "Effects",
    "FeatureEffect",
    "GuardRow",
    "InterventionOrder",
    "LimitsRecord",
    "OrderedCondition",
    "OrderedFeature",
    "Steering",
]
