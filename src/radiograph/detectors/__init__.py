"""Floor 4: what an audit scores. `detectors()` finds them; `Measurement` is what they look at.

Checking stored evidence (`recompute`) needs no torch, so what does is imported when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from radiograph.core import deferred

if TYPE_CHECKING:
    from radiograph.detectors._calibrated import COORDINATES, MIN_MODELS, Pool, independence, judged, pool_of, rules
    from radiograph.detectors._catalogue import Detector, detectors, score_all
    from radiograph.detectors._examine import Examined, examine, kind_of
    from radiograph.detectors._recompute import differences
    from radiograph.detectors._rows import TrainingRow, read_rows
    from radiograph.detectors._shifts import FeatureSettings, score_record, silent_score
    from radiograph.detectors._tables import pool_from, pool_tables, tables, weights_table
    from radiograph.detectors.measure import Banks, Measurement, measure_weights, render

_HOME = {
    "COORDINATES": "_calibrated",
    "MIN_MODELS": "_calibrated",
    "Pool": "_calibrated",
    "independence": "_calibrated",
    "judged": "_calibrated",
    "pool_of": "_calibrated",
    "rules": "_calibrated",
    "Examined": "_examine",
    "examine": "_examine",
    "kind_of": "_examine",
    "TrainingRow": "_rows",
    "read_rows": "_rows",
    "Detector": "_catalogue",
    "detectors": "_catalogue",
    "score_all": "_catalogue",
    "differences": "_recompute",
    "FeatureSettings": "_shifts",
    "score_record": "_shifts",
    "silent_score": "_shifts",
    "tables": "_tables",
    "pool_tables": "_tables",
    "pool_from": "_tables",
    "weights_table": "_tables",
    "Banks": "measure",
    "Measurement": "measure",
    "measure_weights": "measure",
    "render": "measure",
}

__all__ = [
    "COORDINATES",
    "MIN_MODELS",
    "Banks",
    "Detector",
    "Examined",
    "FeatureSettings",
    "Measurement",
    "Pool",
    "TrainingRow",
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
    "weights_table",
]

__getattr__ = deferred(__name__, _HOME)
