"""Scores of a report card: from rows to a score in [0, 1], its interval and its band."""

from radiograph.numerics.reportcard._overlap import contained
from radiograph.numerics.reportcard._scores import MODES, OK, PASSABLE, Band, Mode, Scored, band_of, point_band, score

__all__ = ["MODES", "OK", "PASSABLE", "Band", "Mode", "Scored", "band_of", "contained", "point_band", "score"]
