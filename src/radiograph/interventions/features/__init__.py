"""Writes of features: any `Codec`'s latents, units and directions, pushed, ablated, clamped or patched, row by row."""

from radiograph.interventions.features._controls import FAMILIES, Control, controls_of
from radiograph.interventions.features._generations import continued
from radiograph.interventions.features._naturals import Natural, Naturals, naturals_of
from radiograph.interventions.features._neutral import Cost, neutral_costs
from radiograph.interventions.features._outcomes import Question, Scored, lines_of, question_of, score
from radiograph.interventions.features._write import (
    FeatureWrite,
    Pushed,
    Where,
    codes_on,
    edits_of,
    live,
    own_site,
    pushed,
    rows_on,
)

__all__ = [
    "FAMILIES",
    "Control",
    "Cost",
    "FeatureWrite",
    "Natural",
    "Naturals",
    "Pushed",
    "Question",
    "Scored",
    "Where",
    "codes_on",
    "continued",
    "controls_of",
    "edits_of",
    "lines_of",
    "live",
    "naturals_of",
    "neutral_costs",
    "own_site",
    "pushed",
    "question_of",
    "rows_on",
    "score",
]
