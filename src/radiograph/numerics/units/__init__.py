"""What single units of a site do on natural text: moments, quantiles, contexts, factors, and which units are alike."""

from radiograph.numerics.units._attribution import explained, first_order, saturated
from radiograph.numerics.units._bins import BINS, ERROR, LogBins
from radiograph.numerics.units._contexts import Contexts
from radiograph.numerics.units._controls import FEWEST, ControlTest, control_test
from radiograph.numerics.units._factors import eta_squared
from radiograph.numerics.units._matching import Matched, matched_units
from radiograph.numerics.units._moments import Shapes, ShapeTree
from radiograph.numerics.units._statistics import Along, Direction, SiteStatistics

__all__ = [
    "BINS",
    "ERROR",
    "FEWEST",
    "Along",
    "Contexts",
    "ControlTest",
    "Direction",
    "LogBins",
    "Matched",
    "ShapeTree",
    "Shapes",
    "SiteStatistics",
    "control_test",
    "eta_squared",
    "explained",
    "first_order",
    "matched_units",
    "saturated",
]
