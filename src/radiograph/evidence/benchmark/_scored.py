"""What is kept of one measured organism. Nothing in it tells what the organism is."""

from __future__ import annotations

from typing import ClassVar, Literal

from radiograph.evidence._behaviour import Panel
from radiograph.evidence._calibration import CalibrationModel
from radiograph.evidence._record import Document, Record
from radiograph.evidence.traces import Insertion, SearchStage, Witness

LeadSource = Literal["dictionary", "random dictionary", "lens", "random direction"]


class Lead(Record):
    """The five first words that one way of looking names."""

    source: LeadSource
    words: tuple[str, ...]


class Scored(Document):
    """One candidate's scores: all that metrics and verdicts are made of."""

    SCHEMA: ClassVar[str] = "radiograph.benchmark_score/1"

    protocol_sha256: str
    binding_sha256: str
    """Of everything that the scores depend on beside the candidate."""
    model: CalibrationModel
    flips: dict[str, float]
    """Contrast of each set of prompts."""
    silent: dict[str, str]
    """Detectors without a score, and why."""
    identical: bool
    share_outside: float | None
    """Of the activation shift, outside the dictionary; None where there is none."""
    panel: Panel | None
    witnesses: tuple[Witness, ...]
    """Uncalibrated."""
    looked_at: tuple[str, ...]
    """Kinds of witnesses that were looked for."""
    insertions: tuple[Insertion, ...]
    """The leading ones of the search."""
    stages: tuple[SearchStage, ...]
    leads: tuple[Lead, ...]
    tokens: dict[str, int]
    """Read and written, by detector."""
    notes: dict[str, str]
    """Parts that were not measured, and why."""
