"""Natural statistics of every unit at some sites, in one pass over texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from radiograph.core import deferred

if TYPE_CHECKING:
    from radiograph.harvest.statistics._measure import Measured, Scan, measure, rectified, site_statistics
    from radiograph.harvest.statistics._natural import natural_statistics
    from radiograph.harvest.statistics._rows import Rows, rows_of_texts, rows_of_tokens
    from radiograph.harvest.statistics._workers import measure_shared


__all__ = [
    "Measured",
    "Rows",
    "Scan",
    "measure",
    "measure_shared",
    "natural_statistics",
    "rectified",
    "rows_of_texts",
    "rows_of_tokens",
    "site_statistics",
]

__getattr__ = deferred(__name__, __file__)
