"""What is natural at one site: the object that doses in standard deviations, quantiles and norms refer to.

Measured over content tokens of natural text, the first position of every text left out (attention sinks). σ is that of
the population, √(Σ(x − μ)²/n). Along a direction d everything is that of y = a·d: exact mean and σ from a covariance,
all of it where the direction was projected on while measuring, or where it is one unit.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Float64, Int64
from radiograph.numerics.units._bins import LogBins
from radiograph.numerics.units._moments import Shapes

_SAME = 1e-6
"""Largest distance of two unit vectors that count as one direction."""


@dataclass(frozen=True, eq=False)
class SiteStatistics:
    """Of one site, or of one direction at it (width 1)."""

    site: str
    shapes: Shapes
    bins: LogBins
    fired: Int64[np.ndarray, " width"]
    """Rows in which each unit fired."""
    threshold: float | None = None
    """A unit fires where |a| is above it; None: where a > 0."""
    directions: Mapping[str, Direction] = field(default_factory=dict[str, "Direction"])
    """What was projected on while measuring, by name."""
    whole: float | None = None
    """Of a direction: the mean norm of the site's rows."""

    @property
    def width(self) -> int:
        """Units."""
        return len(self.shapes.mean)

    @property
    def n(self) -> int:
        """Rows."""
        return self.shapes.n

    @property
    def mean(self) -> Float64[np.ndarray, " width"]:
        """μ."""
        return self.shapes.mean

    @property
    def sd(self) -> Float64[np.ndarray, " width"]:
        """σ."""
        return self.shapes.sd

    @property
    def norm(self) -> float:
        """Mean L2 norm of the rows of the site."""
        return self.shapes.norms / self.n if self.whole is None else self.whole

    @property
    def low(self) -> Float64[np.ndarray, " width"]:
        """Smallest values."""
        return self.shapes.low

    @property
    def high(self) -> Float64[np.ndarray, " width"]:
        """Largest values."""
        return self.shapes.high

    @property
    def firing(self) -> Float64[np.ndarray, " width"]:
        """Share of rows in which each unit fires."""
        return self.fired / self.n

    @property
    def covariance(self) -> Float64[np.ndarray, "width width"] | None:
        """Σ(x − μ)(x − μ)ᵀ/n, if it was measured."""
        return None if self.shapes.outer is None else self.shapes.outer / self.n

    def quantile(self, unit: int, q: float) -> float:
        """The q quantile of one unit, within 2 % of NumPy's."""
        one = slice(unit, unit + 1)
        return float(self.bins.one(unit).quantiles(q, self.n, self.low[one], self.high[one])[0])

    def quantiles(self, q: float) -> Float64[np.ndarray, " width"]:
        """The q quantile of every unit."""
        return self.bins.quantiles(q, self.n, self.low, self.high)

    @cached_property
    def median(self) -> Float64[np.ndarray, " width"]:
        """The median of every unit."""
        return self.quantiles(0.5)

    @cached_property
    def spread(self) -> Float64[np.ndarray, " width"]:
        """Mean |a − median| of every unit."""
        return self.bins.spread(self.median, self.low, self.high)

    def along(self, direction: Float64[np.ndarray, " width"]) -> SiteStatistics | Along:
        """Statistics of width 1 of y = a·d, d made a unit vector.

        Raises:
            UserError: another width; a zero or non-finite vector; neither covariance nor projection was measured.
        """
        unit = self._unit(direction)
        if np.abs(unit).max() > 1 - _SAME:
            place = int(np.abs(unit).argmax())
            return self._one(place) if unit[place] > 0 else self._one(place)._mirrored()
        for held in self.directions.values():
            if np.linalg.norm(held.vector - unit) < _SAME:
                return held.statistics
            if np.linalg.norm(held.vector + unit) < _SAME:
                return held.statistics._mirrored()
        if self.covariance is None:
            raise UserError(
                f"nothing was measured along this direction at {self.site}",
                expected="a covariance, or the projection on it",
                fix="measure with --covariance (mean and σ), or with the direction itself (quantiles too)",
                code="no_statistics",
            )
        variance = float(unit @ self.covariance @ unit)
        return Along(
            self.site,
            self.n,
            np.array([float(unit @ self.mean)]),
            np.array([np.sqrt(max(variance, 0.0))]),
            self.norm,
            self.sha256,
        )

    @property
    def sha256(self) -> str:
        """SHA-256 of site, threshold and every number."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        head = [self.site, self.n, self.threshold, sorted(self.directions), self.whole]
        digest = hashlib.sha256(b"radiograph.site_statistics/1" + json.dumps(head).encode())
        shapes = self.shapes
        arrays = [shapes.mean, shapes.second, shapes.third, shapes.fourth, shapes.low, shapes.high, shapes.outer]
        for array in [*arrays, np.array([shapes.norms]), self.fired, self.bins.counts]:
            digest.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
        for name in sorted(self.directions):
            digest.update(self.directions[name].vector.tobytes() + self.directions[name].statistics.sha256.encode())
        return digest.hexdigest()

    def _unit(self, direction: Float64[np.ndarray, " width"]) -> Float64[np.ndarray, " width"]:
        length = float(np.linalg.norm(direction))
        if direction.shape != (self.width,) or not np.isfinite(length) or length == 0:
            raise UserError(
                f"no direction at {self.site}",
                expected=f"a finite vector of width {self.width} that is not zero",
                got=f"width {direction.shape[-1]}, norm {length}",
                code="bad_direction",
            )
        return direction / length

    def _one(self, unit: int) -> SiteStatistics:
        part = slice(unit, unit + 1)
        s = self.shapes
        outer = None if s.outer is None else s.outer[part, part]
        shapes = Shapes(
            s.n, s.mean[part], s.second[part], s.third[part], s.fourth[part], s.low[part], s.high[part], s.norms, outer
        )
        return SiteStatistics(self.site, shapes, self.bins.one(unit), self.fired[part], self.threshold, whole=self.norm)

    def _mirrored(self) -> SiteStatistics:
        """Of −y, of width 1; where firing is a > 0 it is counted anew from the bins."""
        s = self.shapes
        shapes = Shapes(s.n, -s.mean, s.second, -s.third, s.fourth, -s.high, -s.low, s.norms, s.outer)
        bins = self.bins.mirrored()
        above = bins.counts[:, bins.counts.shape[1] // 2 + 1 :].sum(1).astype(np.int64)
        fired = above if self.threshold is None else self.fired
        return SiteStatistics(self.site, shapes, bins, fired, self.threshold, whole=self.whole)


@dataclass(frozen=True, eq=False, slots=True)
class Direction:
    """A unit vector that was projected on while measuring, and what its projection does."""

    vector: Float64[np.ndarray, " width"]
    statistics: SiteStatistics


@dataclass(frozen=True, eq=False, slots=True)
class Along:
    """Mean and σ of a projection, from a covariance: quantiles are not known."""

    site: str
    n: int
    mean: Float64[np.ndarray, " 1"]
    sd: Float64[np.ndarray, " 1"]
    norm: float
    """Mean L2 norm of the rows of the site."""
    sha256: str
    """Of the statistics that it was made from."""
    width: int = 1
    covariance: None = None

    def quantile(self, unit: int, q: float) -> float:
        """Refused.

        Raises:
            UserError: always; says what measures it.
        """
        raise UserError(
            f"the quantile {q:g} of a direction at {self.site} was not measured",
            expected="statistics that were measured along the direction",
            fix="measure with the direction itself, or give the dose in sd",
            code="no_statistics",
        )

    def along(self, direction: Float64[np.ndarray, " 1"]) -> Along:
        """Itself."""
        return self
