"""Every number about reconstruction and codes with its interval, from sums per unit (`units`).

Definitions are those of `numerics.reconstruction`; here each sum is kept per unit of resampling, and for FVU also by
position in the text and by the norm of the activation. With several targets, the sums of each are divided by its own
total spread, so that each counts the same: FVU of the whole is the mean of theirs.
The FVU of a part of the rows is Σ‖e‖² / Σ‖y − ȳ‖² of that part, ȳ being the mean of the whole set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Float, Float64, Int
from radiograph.numerics._finite import finite
from radiograph.numerics.dictionaries.units import Draws, firing_intervals, quantile_intervals, ratio_interval
from radiograph.numerics.proportions import Interval
from radiograph.numerics.reconstruction import DENSE

POSITIONS = 18
"""Bins of position: 0, 1, 2-3, 4-7, …, from 65,536 on."""
DECILES = 10
_L0_MOST = 2047
_SUMS = (
    "rows",
    "missed",
    "spread",
    "live",
    "nmse",
    "cosine",
    "norm_ratio",
    "energy",
    "along",
    "share",
    "varying",
)


@dataclass(frozen=True, slots=True)
class Value:
    """A number and its 95 % interval; neither where there is nothing to divide by."""

    value: float | None
    interval: Interval | None = None


@dataclass(frozen=True, slots=True)
class Band:
    """FVU of a part of the rows."""

    low: float
    high: float
    n: int
    fvu: Value


@dataclass(eq=False, slots=True)
class TargetTable:
    """Sums over the rows of one target."""

    centre: Float64[np.ndarray, " width"]
    """ȳ, from a pass before."""
    deciles: Float[np.ndarray, " edge"]
    """The nine inner bounds of the norms, likewise."""
    units: int
    sums: dict[str, Float64[np.ndarray, " unit"]] = field(init=False)
    errors: Float64[np.ndarray, "unit width"] = field(init=False)
    bands: dict[str, Float64[np.ndarray, "3 unit band"]] = field(init=False)
    """Rows, missed and spread by `position` and by `norm`."""

    def __post_init__(self) -> None:
        self.sums = {name: np.zeros(self.units) for name in _SUMS}
        self.errors = np.zeros((self.units, len(self.centre)))
        self.bands = {"position": np.zeros((3, self.units, POSITIONS)), "norm": np.zeros((3, self.units, DECILES))}

    def add(
        self,
        target: Float[np.ndarray, "row width"],
        reconstruction: Float[np.ndarray, "row width"],
        units: Int[np.ndarray, " row"],
        positions: Int[np.ndarray, " row"],
    ) -> None:
        """Take in rows, the unit of each, and its position in its text.

        Raises:
            UserError: a value that is not finite.
        """
        y, rebuilt = finite(target, "activations"), finite(reconstruction, "reconstructions")
        e, centred = y - rebuilt, y - self.centre
        missed, spread = _dots(e, e), _dots(centred, centred)
        norms, energy, along = _dots(y, y), _dots(rebuilt, rebuilt), _dots(y, rebuilt)
        live, varying = norms > 0, spread > 0
        columns = {
            "rows": np.ones(len(y)),
            "missed": missed,
            "spread": spread,
            "live": live,
            "nmse": _over(missed, norms),
            "cosine": _over(along, np.sqrt(norms * energy)),
            "norm_ratio": _over(np.sqrt(energy), np.sqrt(norms)),
            "energy": energy,
            "along": along,
            "share": _over(missed, spread),
            "varying": varying,
        }
        for name, column in columns.items():
            self.sums[name] += np.bincount(units, column, self.units)
        np.add.at(self.errors, units, e)
        position = np.where(positions > 0, np.log2(np.maximum(positions, 1)).astype(np.int64) + 1, 0)
        self._band("position", np.minimum(position, POSITIONS - 1), units, missed, spread)
        self._band("norm", np.searchsorted(self.deciles, np.sqrt(norms), side="right"), units, missed, spread)

    def _band(
        self,
        kind: str,
        band: Int[np.ndarray, " row"],
        units: Int[np.ndarray, " row"],
        missed: Float64[np.ndarray, " row"],
        spread: Float64[np.ndarray, " row"],
    ) -> None:
        table = self.bands[kind]
        size = table.shape[2]
        place = units * size + band
        for line, column in enumerate((np.ones(len(band)), missed, spread)):
            table[line] += np.bincount(place, column, self.units * size).reshape(self.units, size)

    def by(self, kind: str, taken: Draws) -> list[Band]:
        """FVU by `position` or by `norm`, bands without a row left out."""
        rows, missed, spread = self.bands[kind]
        if kind == "position":
            lows = [0.0, *(2.0**i for i in range(POSITIONS - 1))]
        else:
            lows = [0.0, *self.deciles.tolist()]
        highs = [*lows[1:], float(np.finfo(np.float32).max)]
        return [
            Band(lows[b], highs[b], int(rows[:, b].sum()), ratio(missed[:, b], spread[:, b], taken))
            for b in range(rows.shape[1])
            if rows[:, b].sum() > 0
        ]


def reconstruction_values(tables: Sequence[TargetTable], taken: Draws) -> dict[str, Value]:
    """Every metric of reconstruction over all targets together, each weighted by its own spread.

    Raises:
        UserError: no rows.
    """
    if not tables or not tables[0].sums["rows"].sum():
        raise UserError("no rows were measured")
    spreads = [float(table.sums["spread"].sum()) for table in tables]
    if min(spreads) <= 0:
        return {}

    def total(column: str) -> Float64[np.ndarray, " unit"]:
        return np.sum([t.sums[column] / s for t, s in zip(tables, spreads, strict=True)], axis=0)

    def plain(column: str) -> Float64[np.ndarray, " unit"]:
        return np.sum([t.sums[column] for t in tables], axis=0)

    centred = np.sum([_about_mean(t) / s for t, s in zip(tables, spreads, strict=True)], axis=0)
    spread, live = total("spread"), plain("live")
    fvu = ratio(total("missed"), spread, taken)
    return {
        "fvu": fvu,
        "explained_variance": _complement(fvu),
        "ev_centred": _complement(ratio(centred, spread, taken)),
        "ev_per_token": _complement(ratio(plain("share"), plain("varying"), taken)),
        "nmse": ratio(plain("nmse"), live, taken),
        "cosine": ratio(plain("cosine"), live, taken),
        "norm_ratio": ratio(plain("norm_ratio"), live, taken),
        "shrinkage": ratio(total("energy"), total("along"), taken),
    }


@dataclass(eq=False, slots=True)
class CodeTable:
    """Sums over codes."""

    features: int
    units: int
    rows: Int[np.ndarray, " unit"] = field(init=False)
    l1: Float64[np.ndarray, " unit"] = field(init=False)
    l0: Int[np.ndarray, "unit l0"] = field(init=False)
    """Rows of each unit by their number of active features."""
    fired: Int[np.ndarray, "unit feature"] = field(init=False)

    def __post_init__(self) -> None:
        self.rows = np.zeros(self.units, dtype=np.int64)
        self.l1 = np.zeros(self.units)
        self.l0 = np.zeros((self.units, min(self.features, _L0_MOST) + 1), dtype=np.int64)
        self.fired = np.zeros((self.units, self.features), dtype=np.int32)

    def add(
        self,
        units: Int[np.ndarray, " row"],
        active: Int[np.ndarray, " row"],
        l1: Float[np.ndarray, " row"],
        rows: Int[np.ndarray, " entry"],
        features: Int[np.ndarray, " entry"],
    ) -> None:
        """Take in rows (unit, L0, L1) and entries (row among these, feature)."""
        self.rows += np.bincount(units, minlength=self.units)
        self.l1 += np.bincount(units, l1, self.units)
        np.add.at(self.l0, (units, np.minimum(active, self.l0.shape[1] - 1)), 1)
        np.add.at(self.fired.reshape(-1), units[rows] * self.features + features, 1)

    @property
    def density(self) -> Float64[np.ndarray, " feature"]:
        """Share of rows on which each feature fires."""
        return self.fired.sum(axis=0) / max(int(self.rows.sum()), 1)

    def values(self, taken: Draws) -> dict[str, Value]:
        """L0 (mean, median, 95 % point), L1, dead and dense features."""
        density, rows = self.density, self.rows.astype(np.float64)
        median, ninety_five = quantile_intervals(self.l0, (0.5, 0.95), taken)
        seen = np.cumsum(self.l0.sum(axis=0))
        dead, dense = firing_intervals(self.fired, self.rows, taken)
        return {
            "l0": ratio(self.fired.sum(axis=1).astype(np.float64), rows, taken),
            "l0_median": Value(float((seen < 0.5 * seen[-1]).sum()), median),
            "l0_95": Value(float((seen < 0.95 * seen[-1]).sum()), ninety_five),
            "l1": ratio(self.l1, rows, taken),
            "dead": Value(float((density == 0).sum()), dead),
            "dense": Value(float((density > DENSE).sum()), dense),
        }


def ratio(numerators: Float64[np.ndarray, " unit"], denominators: Float64[np.ndarray, " unit"], taken: Draws) -> Value:
    """Σ / Σ with its interval; no value where the denominators add up to nothing."""
    below = float(denominators.sum())
    if below <= 0:
        return Value(None)
    return Value(float(numerators.sum()) / below, ratio_interval(numerators, denominators, taken))


def point_values(values: Mapping[str, Value]) -> dict[str, float | None]:
    """The numbers alone."""
    return {name: value.value for name, value in values.items()}


def _about_mean(table: TargetTable) -> Float64[np.ndarray, " unit"]:
    """Σ‖e − ē‖² of each unit, ē over the whole set."""
    rows = table.sums["rows"]
    mean = table.errors.sum(axis=0) / rows.sum()
    return table.sums["missed"] - 2 * table.errors @ mean + rows * float(mean @ mean)


def _complement(value: Value) -> Value:
    if value.value is None:
        return value
    bounds = value.interval
    return Value(1 - value.value, None if bounds is None else Interval(1 - bounds.high, 1 - bounds.low))


def _over(above: Float64[np.ndarray, " row"], below: Float64[np.ndarray, " row"]) -> Float64[np.ndarray, " row"]:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def _dots(a: Float64[np.ndarray, "row width"], b: Float64[np.ndarray, "row width"]) -> Float64[np.ndarray, " row"]:
    return np.einsum("rw,rw->r", a, b)
