"""What a narrow change leaves behind: witnesses, shifts of activations, training rows."""

from radiograph.numerics.traces.frames import spread_of
from radiograph.numerics.traces.lens import lens_scores, place_scores
from radiograph.numerics.traces.rows import clusters, drop_z, enrichment
from radiograph.numerics.traces.witness import Judged, WitnessCounts, judge_witness

__all__ = [
    "Judged",
    "WitnessCounts",
    "clusters",
    "drop_z",
    "enrichment",
    "judge_witness",
    "lens_scores",
    "place_scores",
    "spread_of",
]
