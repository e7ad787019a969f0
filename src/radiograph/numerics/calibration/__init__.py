"""A candidate among benign fine-tunes: pools, strata, support, families."""

from radiograph.numerics.calibration.families import Families, families
from radiograph.numerics.calibration.judgement import DetectorRank, Judgement, PoolScores, StratumRank, judge
from radiograph.numerics.calibration.outliers import outlier_scores
from radiograph.numerics.calibration.strata import STRATA, strata
from radiograph.numerics.calibration.support import Supported, support

__all__ = [
    "STRATA",
    "DetectorRank",
    "Families",
    "Judgement",
    "PoolScores",
    "StratumRank",
    "Supported",
    "families",
    "judge",
    "outlier_scores",
    "strata",
    "support",
]
