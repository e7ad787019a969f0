"""From measurements to tables, corrected p-values, and what a page draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from radiograph.evidence.resonance import Compass, CompassGroup, GroupTest, PlaneGroup, PlaneMap, Spread
from radiograph.numerics.multiplicity import Fdr, q_values

if TYPE_CHECKING:
    from radiograph.methods.resonance._planes._measure import Measured
    from radiograph.numerics.planes import Tested

_POINTS, _PLANES, _MAPPED, _SHOWN_GROUPS = 300, 400, 300, 6
POINT_PLANES = 200
"""Planes whose points are written out."""


def plane_rows(found: Sequence[Measured]) -> list[PlaneGroup]:
    """One record a plane and group."""
    rows: list[PlaneGroup] = []
    for made in found:
        for group in made.rows.groups:
            held, tested, between = made.statistics[group], made.tested.get(group), made.intervals.get(group)
            rings = _rings(made, group)
            family = None if tested is None else tested.family_p
            for i, plane in enumerate(made.names):
                r, high = float(held.r[i]), rings[i]
                # Inside its null ring a direction is noise, and is not printed.
                pointing = r > high
                rows.append(
                    PlaneGroup(
                        basis=made.name,
                        transform=made.transform,
                        plane=plane,
                        group=group,
                        n=held.n,
                        r=r,
                        r_low=None if between is None else float(between.r[0, i]),
                        r_high=None if between is None else float(between.r[1, i]),
                        theta=float(held.theta[i]) if pointing else None,
                        theta_low=float(between.theta[0, i]) if between is not None and pointing else None,
                        theta_high=float(between.theta[1, i]) if between is not None and pointing else None,
                        mean_r=float(held.mean_r[i]),
                        concentration=float(held.concentration[i]),
                        energy=float(held.energy[i]),
                        lift=float(held.lift[i]),
                        null_median=None if tested is None else float(tested.quantiles[1, i]),
                        null_high=None if tested is None else float(tested.quantiles[2, i]),
                        p=_p(made, group, i),
                        family_p=None if family is None else float(family[i]),
                        haar_p=float(made.haar[group][i]) if group in made.haar else None,
                        flags=tuple(made.flags),
                    )
                )
    return rows


def group_tests(found: Sequence[Measured]) -> list[GroupTest]:
    """pseudo-F and A₄ of every plane that has them."""
    rows: list[GroupTest] = []
    for made in found:
        two = [made.statistics[group].grey for group in made.rows.groups] if len(made.rows.groups) == 2 else None
        tests: tuple[tuple[Literal["pseudo-F", "fourfold"], Tested | None], ...] = (
            ("pseudo-F", made.pseudo_f),
            ("fourfold", made.fourfold),
        )
        for statistic, tested in tests:
            if tested is None:
                continue
            family = tested.family_p
            for i, plane in enumerate(made.names):
                apart = None
                if two is not None and statistic == "pseudo-F":
                    apart = float(np.linalg.norm(two[0][:, i] - two[1][:, i]))
                rows.append(
                    GroupTest(
                        basis=made.name,
                        transform=made.transform,
                        plane=plane,
                        statistic=statistic,
                        value=float(tested.observed[i]),
                        distance=apart,
                        p=float(tested.p[i]),
                        family_p=float(family[i]),
                        flags=tuple(made.flags),
                    )
                )
    return rows


def corrected(
    planes: list[PlaneGroup], tests: list[GroupTest], fdr: Fdr, counted: set[tuple[str, str, str]] | None = None
) -> tuple[list[PlaneGroup], list[GroupTest], int]:
    """Q over planes × groups × statistics of the run, and the size of that family.

    `counted` names the (basis, transform, plane) that stand for their clusters; the others get no q.
    """

    def own(row: PlaneGroup | GroupTest) -> float:
        inside = counted is None or (row.basis, row.transform, row.plane) in counted
        return np.nan if row.p is None or not inside else row.p

    p = np.array([own(row) for row in (*planes, *tests)], dtype=np.float64)
    q = [None if np.isnan(x) else float(x) for x in q_values(p, fdr)]
    with_q = [row.model_copy(update={"q": x}) for row, x in zip((*planes, *tests), q, strict=True)]
    family = int((~np.isnan(p)).sum())
    return with_q[: len(planes)], with_q[len(planes) :], family  # type: ignore[return-value]


def columns(rows: Sequence[Any]) -> dict[str, list[Any]]:
    """Records as equally long columns; lists as text."""
    if not rows:
        return {}
    names = type(rows[0]).model_fields
    return {name: [_flat(getattr(row, name)) for row in rows] for name in names}


def cone_columns(found: Sequence[Measured]) -> dict[str, list[float]]:
    """Suprema in the order of `plane_rows`: `sup_f_ε`, `sup_signed_ε`."""
    out: dict[str, list[float]] = {}
    for made in found:
        for group in made.rows.groups:
            for prefix, held in (("sup_f", made.suprema), ("sup_signed", made.signed)):
                for epsilon, values in held.get(group, {}).items():
                    out.setdefault(f"{prefix}_{epsilon:g}", []).extend(map(float, values))
            for name in ("axial", "fourfold"):
                out.setdefault(name, []).extend(map(float, getattr(made.statistics[group], name)))
    return out


def chosen(made: Measured, count: int) -> list[int]:
    """The planes that are drawn: smallest p first, then largest r."""
    order = np.array([min(_p(made, g, i) or 1.0 for g in made.rows.groups) for i in range(len(made.names))])
    largest = np.max([made.statistics[g].r for g in made.rows.groups], axis=0)
    return np.lexsort((-largest, order))[:count].tolist()


def compass(made: Measured, place: int, epsilons: Sequence[float], angles: np.ndarray) -> Compass | None:
    """One plane as it is drawn; None where planes were streamed."""
    from radiograph.numerics.planes import Isotropy, cone_fraction

    if made.z is None:
        return None
    names = np.array(made.rows.names)
    shown = made.rows.groups[:_SHOWN_GROUPS]
    groups, cones = [], []
    for group in shown:
        z = made.z[:, [place]][:, :, names == group]
        every = np.linspace(0, z.shape[2] - 1, min(_POINTS, z.shape[2])).astype(int)
        points = tuple((round(float(x), 6), round(float(y), 6)) for x, y in z[:, 0, every].T)
        grey = made.statistics[group].grey[:, place]
        groups.append(CompassGroup(name=group, grey=(float(grey[0]), float(grey[1])), points=points))
        cones.append(tuple(tuple(cone_fraction(z, e, angles)[0].tolist()) for e in epsilons))
    least = min(made.statistics[group].n for group in shown)
    tested = made.tested.get(shown[0])
    width = made.vectors.shape[1]
    ring = Isotropy(width).mean_radius(least)
    labels = [made.labels[int(index[place])] for index in (made.planes.first, made.planes.second)]
    return Compass(
        basis=made.name,
        transform=made.transform,
        plane=made.names[place],
        labels=(labels[0], labels[1]),
        second_angle=float(made.planes.second_angle[place]),
        circular=made.circular,
        row_ring=Isotropy(width).row_radius(),
        mean_ring=ring if tested is None else float(max(_rings(made, g)[place] for g in shown)),
        ring_of=f"isotropic rows, n {least}" if tested is None else made.null,
        groups=tuple(groups),
        angles=tuple(map(float, angles)),
        epsilons=tuple(epsilons),
        cones=tuple(cones),
    )


def spreads(made: Measured) -> list[Spread]:
    """r_G over planes beside its null, for each group."""
    every = np.linspace(0, len(made.names) - 1, min(_PLANES, len(made.names))).astype(int)
    return [
        Spread(
            basis=made.name,
            transform=made.transform,
            group=group,
            r=tuple(made.statistics[group].r[every].tolist()),
            null=tuple(np.asarray(_rings(made, group))[every].tolist()),
        )
        for group in made.rows.groups[:_SHOWN_GROUPS]
    ]


def frames(made: Measured, places: Sequence[int]) -> np.ndarray:
    """Orthonormal frames of some planes, [plane, 2, width]."""
    from radiograph.numerics.planes import frame

    return np.stack([np.stack(frame(made.vectors, made.planes, place)) for place in places])


def plane_map(made: Measured) -> tuple[PlaneMap | None, np.ndarray | None]:
    """Planes by their principal angles (classical scaling), and the exemplar of each cluster."""
    from radiograph.numerics.planes import clusters, principal_angles

    if len(made.names) < 3 or len(made.names) > _MAPPED:
        return None, None
    angles = principal_angles(frames(made, range(len(made.names))))
    labels, exemplars = clusters(angles)
    centred = -0.5 * angles**2
    centred = centred - centred.mean(axis=0) - centred.mean(axis=1)[:, None] + centred.mean()
    values, vectors = np.linalg.eigh(centred)
    place = vectors[:, -2:] * np.sqrt(np.maximum(values[-2:], 0))
    place = place * np.where(place[np.abs(place).argmax(axis=0), [0, 1]] < 0, -1, 1)
    largest = np.max([made.statistics[g].r for g in made.rows.groups], axis=0)
    return PlaneMap(
        basis=made.name,
        transform=made.transform,
        names=tuple(made.names),
        x=tuple(np.round(place[:, 1], 6).tolist()),
        y=tuple(np.round(place[:, 0], 6).tolist()),
        cluster=tuple(labels.tolist()),
        r=tuple(largest.tolist()),
    ), exemplars


def _rings(made: Measured, group: str) -> np.ndarray:
    """95 % of the null of r_G of each plane, or of isotropic rows."""
    from radiograph.numerics.planes import Isotropy

    tested = made.tested.get(group)
    if tested is not None:
        return tested.quantiles[2]
    held = made.statistics[group]
    return np.full(len(made.names), Isotropy(made.vectors.shape[1]).mean_radius(held.n))


def _p(made: Measured, group: str, place: int) -> float | None:
    if made.circular or "no label null" in made.flags:
        return None
    tested = made.tested.get(group)
    if tested is not None:
        return float(tested.p[place])
    return float(made.haar[group][place]) if group in made.haar else None


def _flat(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else value
