"""A candidate among benign fine-tunes: pools, strata, support, families."""

from radiograph.numerics.calibration.degraded import DegradedRank, among_degraded, strength
from radiograph.numerics.calibration.families import Families, families
from radiograph.numerics.calibration.judgement import DetectorRank, Judgement, PoolScores, StratumRank, judge
from radiograph.numerics.calibration.outliers import outlier_scores
from radiograph.numerics.calibration.strata import STRATA, strata
from radiograph.numerics.calibration.support import Supported, support

__all__ = [
    "STRATA",
    "DegradedRank",
    "DetectorRank",
    "Families",
    "Judgement",
    "PoolScores",
    "StratumRank",
    "Supported",
    "among_degraded",
    "families",
    "judge",
    "outlier_scores",
    "strata",
    "strength",
    "support",
]
