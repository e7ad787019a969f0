"""How well the detectors tell planted changes from harmless ones."""

from radiograph.evidence.benchmark._protocol import Protocol, Tier
from radiograph.evidence.benchmark._result import (
    PARTS,
    Assertion,
    Benchmark,
    Confusion,
    Control,
    Due,
    GateFailed,
    Metric,
    Outcome,
    Part,
    Recovery,
    UniformityRecord,
)
from radiograph.evidence.benchmark._scored import Lead, Scored

__all__ = [
    "PARTS",
    "Assertion",
    "Benchmark",
    "Confusion",
    "Control",
    "Due",
    "GateFailed",
    "Lead",
    "Metric",
    "Outcome",
    "Part",
    "Protocol",
    "Recovery",
    "Scored",
    "Tier",
    "UniformityRecord",
]
