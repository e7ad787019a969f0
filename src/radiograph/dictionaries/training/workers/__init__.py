"""One run on several processes: what ranks agree on, and how they are started. Ray is imported only when asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from radiograph.core import deferred
from radiograph.dictionaries.training.workers._team import Alone, Group, Team

if TYPE_CHECKING:
    from radiograph.dictionaries.training.workers._start import Assignment, train_together

__all__ = ["Alone", "Assignment", "Group", "Team", "train_together"]

__getattr__ = deferred(__name__, __file__)
