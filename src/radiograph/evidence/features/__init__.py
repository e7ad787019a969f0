"""What is known of features: findings with grades and codes, rankings of one kind, cards, and an inspection of all.

The vocabulary is closed: `GRADES` and `CODES` name all there is. A `Ranking` holds findings of one kind, measured ones
only; mixing kinds is an error.
"""

from radiograph.evidence.features._cards import (
    Band,
    Bar,
    Card,
    Class,
    Context,
    DosePoint,
    Explained,
    Histogram,
    Moved,
    Neighbour,
    Response,
)
from radiograph.evidence.features._finding import (
    Discovered,
    EffectSize,
    Finding,
    Interval,
    Power,
    Rate,
    Stability,
    Statistic,
    StatisticN,
)
from radiograph.evidence.features._grades import CODES, GRADES, Kind, Requirement, at_least
from radiograph.evidence.features._inspection import (
    Claim,
    Design,
    Found,
    Inspection,
    InspectionSource,
    Outcome,
    SearchHit,
    Study,
)
from radiograph.evidence.features._ranking import Ranking

__all__ = [
    "CODES",
    "GRADES",
    "Band",
    "Bar",
    "Card",
    "Claim",
    "Class",
    "Context",
    "Design",
    "Discovered",
    "DosePoint",
    "EffectSize",
    "Explained",
    "Finding",
    "Found",
    "Histogram",
    "Inspection",
    "InspectionSource",
    "Interval",
    "Kind",
    "Moved",
    "Neighbour",
    "Outcome",
    "Power",
    "Ranking",
    "Rate",
    "Requirement",
    "Response",
    "SearchHit",
    "Stability",
    "Statistic",
    "StatisticN",
    "Study",
    "at_least",
]
