"""Forwards in which chosen matrix products are replaced by sums of masked components.

`Target`: a network whose weights have addresses, made by `of_model` from a language model and by `of_network` from any
other. `masked`: replace products. `recorded`: what each decomposed weight reads and writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from radiograph.core import deferred

if TYPE_CHECKING:
    from radiograph.models.masked._masked import Factors, Mask, Parts, masked, products_of
    from radiograph.models.masked._recorded import Record, recorded, run
    from radiograph.models.masked._target import Place, Target, of_model, of_network

__all__ = [
    "Factors",
    "Mask",
    "Parts",
    "Place",
    "Record",
    "Target",
    "masked",
    "of_model",
    "of_network",
    "products_of",
    "recorded",
    "run",
]

__getattr__ = deferred(__name__, __file__)
