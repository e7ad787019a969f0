"""`blame --screen`: rows ranked by a probe on their answers and on the reference's own, before anything is trained."""

from radiograph.methods._blame.screen._conclude import differences
from radiograph.methods._blame.screen._run import screened

__all__ = ["differences", "screened"]
