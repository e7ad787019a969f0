"""Floor 4: what an audit scores. `detectors()` finds them; `Measurement` is what they look at.

Checking stored evidence (`recompute`) needs no torch, so what does is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from radiograph.core import deferred

if TYPE_CHECKING:
    from radiograph.detectors._calibrated import (
        CONTRASTS,
        COORDINATES,
        MIN_MODELS,
        Pool,
        contrasts_of,
        independence,
        judged,
        pool_of,
        rules,
        unfit,
    )
    from radiograph.detectors._catalogue import Detector, detectors, score_all
    from radiograph.detectors._examine import Examined, examine, kind_of
    from radiograph.detectors._recompute import differences
    from radiograph.detectors._rows import TrainingRow, read_rows
    from radiograph.detectors._shifts import FeatureSettings, score_record, silent_score
    from radiograph.detectors._tables import pool_from, pool_tables, tables, unlike, weights_table
    from radiograph.detectors.measure import Banks, Measurement, measure_weights, render


__all__ = [
    "CONTRASTS",
    "COORDINATES",
    "MIN_MODELS",
    "Banks",
    "Detector",
    "Examined",
    "FeatureSettings",
    "Measurement",
    "Pool",
    "TrainingRow",
    "contrasts_of",
    "detectors",
    "differences",
    "examine",
    "independence",
    "judged",
    "kind_of",
    "measure_weights",
    "pool_from",
    "pool_of",
    "pool_tables",
    "read_rows",
    "render",
    "rules",
    "score_all",
    "score_record",
    "silent_score",
    "tables",
    "unfit",
    "unlike",
    "weights_table",
]

__getattr__ = deferred(__name__, __file__)
