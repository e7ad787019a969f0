"""The words of grids, interventions, planes, collapse and site statistics."""

from radiograph.evidence.resonance._conditions import (
    Bos,
    Card,
    Condition,
    Decoding,
    Dose,
    DoseUnit,
    Follow,
    Op,
    Pool,
    PositionKind,
    Positions,
    Recipe,
    Write,
)

__all__ = [
    "Bos",
    "Card",
    "Condition",
    "Decoding",
    "Dose",
    "DoseUnit",
    "Follow",
    "Op",
    "Pool",
    "PositionKind",
    "Positions",
    "Recipe",
    "Write",
]
