"""Paired rows of two sides in the planes of a basis: how far each group moved, and what would have moved it as far.

1. coordinates of both sides, and of further ones in the same order; a pair with a row of length zero is left out
2. per plane and group: Δ Grey, Δr, Δθ (unless a side lies inside the ring of isotropic means), cones; sides exchanged
   by core give p, where there are two cores
3. a row whose core the basis has a fold without is looked at in that fold, on every side. Where rows of a side made the
   basis, movements are `circular` and exchanging sides gives no p, folds or not: one side would stay at home (noise
   against noise in folded means: 12 % of p below .05). Controls still do: they stand in the same planes
4. controls: other conditions of the same prompts, each a side of its own. p = (1 + #{‖mean Δz‖ of a control ≥ that of
   the condition})/(M + 1), units and directions apart; none under 19 controls
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.core import Refusal, derive
from radiograph.evidence.resonance import Arrow
from radiograph.methods.resonance._planes import _groups, _measure, _sources, _written

if TYPE_CHECKING:
    from radiograph.methods.resonance._planes._groups import Grouped
    from radiograph.numerics.planes import Movement, Planes, Transform
    from radiograph.store.planes import StoredBasis, VectorRows


@dataclass(frozen=True, eq=False)
class Pair:
    """Rows of both sides in one order, and further sides in the same."""

    name: str
    left: VectorRows
    right: VectorRows
    direct: VectorRows | None
    units: tuple[VectorRows, ...] = ()
    """The rows under each control that writes a unit."""
    directions: tuple[VectorRows, ...] = ()


@dataclass(frozen=True, eq=False)
class _Look:
    """Some rows, and the vectors that they are looked at with."""

    rows: np.ndarray
    """Mask."""
    vectors: np.ndarray
    planes: Planes


@dataclass(eq=False)
class Looking:
    """What pairs are looked at with; notes and smallest p gather."""

    by: tuple[str, ...]
    asked: _measure.Asked
    drop: tuple[int, ...]
    kept: bool
    """Written coordinates stay, and are marked."""
    notes: list[str] = field(default_factory=list)
    smallest: list[float] = field(default_factory=list)

    def moved(self, pair: Pair, name: str, stored: StoredBasis, transform: Transform) -> list[Arrow]:
        """Every plane and group of one comparison, basis and transform."""
        from radiograph.numerics.planes import Isotropy, planes_of

        grouped = _groups.grouped(pair.left, self.by)
        _measure.fits(grouped, stored, transform)
        basis = _measure.unit_vectors(stored, transform, self.drop)
        first, second = _measure.pairs_of(stored, self.asked)
        planes, kept = planes_of(basis @ basis.T, first, second, self.asked.min_sine)
        if not len(planes):
            raise Refusal("collinear_basis", "no two vectors of the basis span a plane", fix="lower --min-sine")
        labels = stored.record.labels
        names = [f"{labels[a]} × {labels[b]}" for a, b in zip(first[kept], second[kept], strict=True)]
        looks = [
            _Look(np.ones(len(grouped.cores), dtype=bool), basis, planes),
            *self._folds(stored, grouped, planes, transform),
        ]
        sides = [pair.left, pair.right, *([] if pair.direct is None else [pair.direct])]
        z, live = self._coordinates(sides, looks, transform)
        pushed = {
            kind: [self._coordinates([side], looks, transform)[0][0] for side in getattr(pair, kind)]
            for kind in ("units", "directions")
        }
        if not live.all():
            self.notes.append(f"{int((~live).sum())} pairs with a row of length zero are left out")
        groups = {"all": live}
        groups |= {g: live & np.array([n == g for n in grouped.names]) for g in grouped.groups if self.by}
        out: list[Arrow] = []
        facts: dict[str, Any] = {"basis": name, "transform": transform.kind, "flags": ()}
        if self.kept or _written.written(pair.left, pair.right).along:
            facts["flags"] = ("tautological",)
        if any(_sources.shared(side, stored.record).any() for side in (pair.left, pair.right)):
            facts["flags"] = ("circular", *facts["flags"])
            self.notes.append(f"rows of a side made {name}, so exchanging sides gives no p: make it of other rows")
        for group, mine in groups.items():
            if mine.any():
                cores = [core for core, own in zip(grouped.cores, mine, strict=True) if own]
                facts["group"] = f"{pair.name}: {group}"
                controls = {kind: [side[:, :, mine] for side in held] for kind, held in pushed.items()}
                ring = Isotropy(basis.shape[1]).mean_radius(int(mine.sum()))
                out += self._arrows(facts, names, [side[:, :, mine] for side in z], controls, cores, ring)
        return out

    def _folds(self, stored: StoredBasis, grouped: Grouped, planes: Planes, transform: Transform) -> list[_Look]:
        """The basis as it is without each core, for the rows of that core; none where a fold loses a plane."""
        from radiograph.numerics.planes import planes_of, unit_rows

        found: list[_Look] = []
        cores = np.array([str(core) for core in grouped.cores])
        for core, vectors in zip(stored.record.folds, () if stored.folds is None else stored.folds, strict=False):
            mine = cores == core
            if mine.any():
                unit = unit_rows(_groups.without(transform.apply(vectors, stored.record.role), self.drop))[0]
                own, _ = planes_of(unit @ unit.T, planes.first, planes.second, 1e-6)
                if len(own) < len(planes):
                    return []
                found.append(_Look(mine, unit, own))
        return found

    def _coordinates(
        self, sides: Sequence[VectorRows], looks: Sequence[_Look], transform: Transform
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """Z of each side, and which pairs have a length on all of them."""
        from radiograph.numerics.planes import coordinates

        out, live = [], np.ones(len(sides[0].values), dtype=bool)
        for side in sides:
            values = _groups.without(transform.apply(side.values.astype(np.float64)), self.drop)
            norms = np.linalg.norm(values, axis=1)
            live &= norms > 0
            unit = values / np.where(norms > 0, norms, 1)[:, None]
            z = np.empty((2, len(looks[0].planes), len(unit)))
            for look in looks:
                z[:, :, look.rows] = coordinates(unit[look.rows] @ look.vectors.T, look.planes)
            out.append(z)
        return out, live

    def _arrows(
        self,
        facts: dict[str, Any],
        names: list[str],
        z: list[np.ndarray],
        controls: dict[str, list[np.ndarray]],
        cores: list[Any],
        ring: float,
    ) -> list[Arrow]:
        from radiograph.numerics.planes import supremum, turn

        left, right = z[:2]
        p = {} if "circular" in facts["flags"] else self._exchanged(left, right, cores, str(facts["group"]))
        one, two = left.mean(axis=2), right.mean(axis=2)
        fed = z[2].mean(axis=2) if len(z) > 2 else None
        displacement, angles, lengths = np.hypot(*(two - one)), turn(one, two), (np.hypot(*one), np.hypot(*two))
        for kind, held in controls.items():
            if held:
                moved = np.array([np.hypot(*(side.mean(axis=2) - one)) for side in held])
                p[f"p_{kind}"] = self._ranked(displacement, moved, kind)
        cones = {
            (e, s): supremum(right, e, signed=s)[0] - supremum(left, e, signed=s)[0]
            for e in self.asked.epsilons
            for s in (False, True)
        }
        per_row = np.hypot(*(right - left)).mean(axis=1)
        pointing = np.minimum(*lengths) > ring
        if fed is not None:
            p |= {"directly": np.hypot(*(fed - one)), "text_mediated": np.hypot(*(two - fed))}
        said: list[dict[str, Any]] = [
            {name: float(values[i]) for name, values in p.items() if not np.isnan(values[i])} for i in range(len(names))
        ]
        return [
            Arrow(
                **facts,
                plane=plane,
                n=left.shape[2],
                left_r=float(lengths[0][i]),
                right_r=float(lengths[1][i]),
                delta_r=float(lengths[1][i] - lengths[0][i]),
                delta_theta=float(angles[i]) if pointing[i] else None,
                displacement=float(displacement[i]),
                delta_grey=_point(two - one, i),
                row_displacement=float(per_row[i]),
                delta_cone={f"{e:g}": float(cones[e, False][i]) for e in self.asked.epsilons},
                delta_signed={f"{e:g}": float(cones[e, True][i]) for e in self.asked.epsilons},
                **said[i],
                left=_point(one, i),
                right=_point(two, i),
                direct=None if fed is None else _point(fed, i),
            )
            for i, plane in enumerate(names)
        ]

    def _exchanged(self, left: np.ndarray, right: np.ndarray, cores: list[Any], group: str) -> dict[str, np.ndarray]:
        """P of displacement, length and angle, sides exchanged by core."""
        from radiograph.numerics.planes import Flips, against_null

        if len(set(cores)) < 2:
            self.notes.append(f"{group}: one core, so that sides cannot be exchanged and no p is given")
            return {}
        out: dict[str, np.ndarray] = {}
        statistics: dict[str, Movement] = {"p": "displacement", "p_r": "length", "p_theta": "angle"}
        for name, statistic in statistics.items():
            source = Flips.of(left, right, cores, statistic)
            seed = derive(self.asked.seed, statistic)
            tested = against_null(source.observed(), source, seed=seed, draws=self.asked.permutations, limit=0)
            out[name] = tested.p
            self.smallest.append(tested.smallest)
        return out

    def _ranked(self, observed: np.ndarray, moved: np.ndarray, kind: str) -> np.ndarray:
        from radiograph.numerics.units import control_test

        tests = [control_test(float(own), null) for own, null in zip(observed, moved.T, strict=True)]
        if tests[0].note is not None:
            self.notes.append(f"{tests[0].note}: {len(moved)} {kind}, and 19 are needed")
        return np.array([np.nan if test.p is None else test.p for test in tests])


def _point(values: np.ndarray, place: int) -> tuple[float, float]:
    return float(values[0, place]), float(values[1, place])
