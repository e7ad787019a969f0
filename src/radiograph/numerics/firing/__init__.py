"""How features fire, for people to look at: histograms of values, rows to show, features that fire together.

Descriptions only: no statistic of a study reads them.
"""

from radiograph.numerics.firing._histogram import Bars, histogram
from radiograph.numerics.firing._shown import Shown, shown_rows
from radiograph.numerics.firing._together import Together, coactivation, phi

__all__ = ["Bars", "Shown", "Together", "coactivation", "histogram", "phi", "shown_rows"]
