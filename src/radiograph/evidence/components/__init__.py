"""What a harvest, labels, attributions and groups of weight components leave behind."""

from __future__ import annotations

from radiograph.evidence.components._attributions import ComponentAttributions, EffectMean, ShownEffect
from radiograph.evidence.components._clusters import ComponentClusters, ComponentGroup, Spread
from radiograph.evidence.components._harvest import FEW, ComponentHarvest, WeightCounts
from radiograph.evidence.components._labels import ComponentLabel, ComponentLabels, Intruders, Strategy

__all__ = [
    "FEW",
    "ComponentAttributions",
    "ComponentClusters",
    "ComponentGroup",
    "ComponentHarvest",
    "ComponentLabel",
    "ComponentLabels",
    "EffectMean",
    "Intruders",
    "ShownEffect",
    "Spread",
    "Strategy",
    "WeightCounts",
]
