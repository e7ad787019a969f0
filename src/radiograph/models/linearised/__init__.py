"""A forward that is affine in what components write: for edges that add up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from radiograph.core import deferred

if TYPE_CHECKING:
    from radiograph.models.linearised._fixed import Fixed
    from radiograph.models.linearised._forward import Aim, Leaves, Linearised, Pulled

__all__ = ["Aim", "Fixed", "Leaves", "Linearised", "Pulled"]

__getattr__ = deferred(__name__, __file__)
