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
from radiograph.evidence.resonance._cross import NAME, core_id, cross_records, read_cores, read_factors
from radiograph.evidence.resonance._filters import Clause, Filter
from radiograph.evidence.resonance._grid import RESERVED, Grid, GridCore, GridFactor, GridNote, GridRecord, record_id
from radiograph.evidence.resonance._units import StatisticsHeader, StatisticsSite, UnitRow

__all__ = [
    "NAME",
    "RESERVED",
    "Bos",
    "Card",
    "Clause",
    "Condition",
    "Decoding",
    "Dose",
    "DoseUnit",
    "Filter",
    "Follow",
    "Grid",
    "GridCore",
    "GridFactor",
    "GridNote",
    "GridRecord",
    "Op",
    "Pool",
    "PositionKind",
    "Positions",
    "Recipe",
    "StatisticsHeader",
    "StatisticsSite",
    "UnitRow",
    "Write",
    "core_id",
    "cross_records",
    "read_cores",
    "read_factors",
    "record_id",
]
