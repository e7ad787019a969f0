"""Rows of the drawn planes as they lie there: points, curves with cones, and Bird's companion view.

1. points: coordinates of every row, in at most 200 planes
2. curves: mean similarity, cones and signed cones at every angle; under `bird` his angle, which turns the other way
3. projected: rows whose r reaches the first ε; density: their share in every ring and sector of the plane over the
   share that isotropic rows would have there, P(r₁ ≤ r < r₂)/sectors
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.methods.resonance._planes._tables import POINT_PLANES, chosen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from radiograph.methods.resonance._planes._measure import Measured

_RINGS, _SECTORS = 8, 24
_DENSITY = ("r_low", "r_high", "angle_low", "angle_high", "rows", "isotropic", "ratio")
Table = dict[str, list[Any]]


@dataclass
class Drawn:
    """What is asked for, and the tables that grow basis by basis."""

    angles: int
    epsilons: tuple[float, ...]
    signed: bool
    curves: int
    bird: bool
    project: bool
    tables: dict[str, Table] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    """CSV of the first plane, by basis, transform and group."""

    def add(self, made: Measured) -> None:
        """The planes that stand out; streamed planes keep no points."""
        if made.z is None:
            return
        for place in chosen(made, POINT_PLANES):
            self._points(made, made.z[:, place].astype(np.float64), made.label(place))
        for number, place in enumerate(chosen(made, self.curves)):
            for group, z in _groups(made, place):
                self._curve(made, made.label(place), group, z, first=number == 0)
                if self.project:
                    self._density(made, made.label(place), group, z)

    def _extend(self, name: str, constants: dict[str, Any], columns: Table) -> None:
        count = len(next(iter(columns.values())))
        table = self.tables.setdefault(name, {})
        for title, values in ({k: [v] * count for k, v in constants.items()} | columns).items():
            table.setdefault(title, []).extend(values)

    def _points(self, made: Measured, z: np.ndarray, plane: str) -> None:
        from radiograph.numerics.planes import degrees

        r = np.hypot(*z)
        columns: Table = {"row": made.rows.rows.keys, "group": made.rows.names}
        columns |= {"x": z[0].tolist(), "y": z[1].tolist(), "r": r.tolist(), "phi": degrees(z).tolist()}
        where = {"basis": made.name, "transform": made.transform, "plane": plane}
        self._extend("points", where, columns)
        near = np.flatnonzero(r >= self.epsilons[0]).tolist()
        if self.project and near:
            self._extend("projected", where, {name: [held[i] for i in near] for name, held in columns.items()})

    def _curve(self, made: Measured, plane: str, group: str, z: np.ndarray, first: bool) -> None:
        from radiograph.numerics.planes import cone_fraction, curve, signed_fraction

        angles = np.linspace(0, 360, self.angles) if self.bird else np.arange(self.angles) * 360 / self.angles
        ours = -angles if self.bird else angles
        columns: Table = {"angle_deg": angles.tolist(), "mean_similarity": curve(z.mean(axis=2), ours)[0].tolist()}
        for epsilon in self.epsilons:
            columns[f"cone_{epsilon:g}"] = cone_fraction(z, epsilon, ours)[0].tolist()
            if self.signed:
                columns[f"signed_{epsilon:g}"] = signed_fraction(z, epsilon, ours)[0].tolist()
        if first:
            name = "".join(c if c.isalnum() else "_" for c in f"{made.name}_{made.transform}_{group}")
            self.texts[f"csv/{name}.csv"] = _csv(columns)
        where = {"basis": made.name, "transform": made.transform, "plane": plane, "group": group}
        self._extend("curves", where, columns)

    def _density(self, made: Measured, plane: str, group: str, z: np.ndarray) -> None:
        from radiograph.numerics.planes import Isotropy, degrees

        r, law = np.hypot(*z[:, 0]), Isotropy(made.vectors.shape[1])
        least = max(self.epsilons[0], 0.0)
        if r.max() <= least:
            return
        rings = np.linspace(least, float(r.max()) * (1 + 1e-9), _RINGS + 1)
        sectors = np.arange(_SECTORS + 1) * 360 / _SECTORS
        counts, _, _ = np.histogram2d(r, degrees(z[:, 0]), bins=(rings, sectors))
        mass = -np.diff([law.tail(edge) for edge in rings]) / _SECTORS
        columns: Table = {
            name: [] for name in ("r_low", "r_high", "angle_low", "angle_high", "rows", "isotropic", "ratio")
        }
        for i, j in np.ndindex(*counts.shape):
            share = counts[i, j] / len(r)
            # Far out an isotropic row is rarer than a float can say.
            ratio = float(share / mass[i]) if mass[i] > 0 else None
            line = (rings[i], rings[i + 1], sectors[j], sectors[j + 1])
            values = (*map(float, line), int(counts[i, j]), float(mass[i]), ratio)
            for held, value in zip(columns.values(), values, strict=True):
                held.append(value)
        where = {"basis": made.name, "transform": made.transform, "plane": plane, "group": group}
        self._extend("density", where, columns)


def _groups(made: Measured, place: int) -> Iterator[tuple[str, np.ndarray]]:
    """Coordinates of each group in one plane."""
    assert made.z is not None, "streamed planes keep no coordinates"
    names = np.array(made.rows.names)
    for group in made.rows.groups:
        yield group, made.z[:, [place]][:, :, names == group].astype(np.float64)


def _csv(columns: Table) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return out.getvalue()
