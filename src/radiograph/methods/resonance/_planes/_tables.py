"""From measurements to tables, corrected p-values, and what a page draws.

Tables are made column by column: a million planes are arrays, and records are made of the few that a page shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.evidence.resonance import Compass, CompassGroup, GroupTest, PlaneGroup, PlaneMap, Spread
from radiograph.numerics.multiplicity import Fdr, q_values

if TYPE_CHECKING:
    import polars

    from radiograph.methods.resonance._planes._measure import Measured
    from radiograph.numerics.planes import Tested

_POINTS, _PLANES, _MAPPED, _SHOWN_GROUPS = 300, 400, 300, 6
POINT_PLANES = 200
"""Planes whose points are written out."""


def plane_table(found: Sequence[Measured]) -> polars.DataFrame:
    """One line a plane and group."""
    import polars

    parts = [_group_table(made, group) for made in found for group in made.rows.groups]
    return polars.concat(parts, how="diagonal_relaxed", rechunk=False) if parts else polars.DataFrame()


def _group_table(made: Measured, group: str) -> polars.DataFrame:
    held, tested, between = made.statistics[group], made.tested.get(group), made.intervals.get(group)
    # Inside its null ring a direction is noise, and is not printed.
    pointing = held.r > _rings(made, group)
    columns: dict[str, Any] = {"r": held.r}
    if between is not None:
        columns |= {"r_low": between.r[0], "r_high": between.r[1]}
    columns["theta"] = np.where(pointing, held.theta, np.nan).astype(held.r.dtype)
    if between is not None:
        low, high = np.where(pointing, between.theta, np.nan)
        columns |= {"theta_low": low, "theta_high": high}
    columns |= {"mean_r": held.mean_r, "concentration": held.concentration, "energy": held.energy, "lift": held.lift}
    if tested is not None:
        columns |= {"null_median": tested.quantiles[1], "null_high": tested.quantiles[2]}
    columns["p"] = p_values(made, group)
    if tested is not None:
        columns["family_p"] = tested.family_p
    if group in made.haar:
        columns["haar_p"] = made.haar[group]
    for prefix, suprema in (("sup_f", made.suprema), ("sup_signed", made.signed)):
        columns |= {f"{prefix}_{epsilon:g}": values for epsilon, values in suprema.get(group, {}).items()}
    columns |= {"axial": held.axial, "fourfold": held.fourfold}
    for name, angles in made.angles.get(group, {}).items():
        columns |= {name: -angles.observed if name == "hodges_ajne" else angles.observed, f"{name}_p": angles.p}
    optional = ("r_low", "r_high", "theta_low", "theta_high", "null_median", "null_high", "family_p", "haar_p")
    return _framed(made, columns, optional, n=held.n, group=group)


def test_table(found: Sequence[Measured]) -> polars.DataFrame:
    """One line a plane and statistic, of planes that have them."""
    import polars

    parts: list[polars.DataFrame] = []
    for made in found:
        tests: list[tuple[str, float | None, Tested | None]] = [("pseudo-F", None, made.pseudo_f)]
        tests += [("fourfold", None, made.fourfold), *(("cone", e, tested) for e, tested in made.cones.items())]
        for statistic, epsilon, tested in tests:
            if tested is None:
                continue
            columns = {"value": tested.observed, "p": tested.p, "family_p": tested.family_p}
            if statistic == "pseudo-F" and len(made.rows.groups) == 2:
                one, two = (made.statistics[group].grey for group in made.rows.groups)
                columns["distance"] = np.hypot(*(one - two))
            if epsilon is not None:
                columns["epsilon"] = np.full(len(tested.observed), epsilon)
            parts.append(_framed(made, columns, ("distance", "epsilon"), statistic=statistic))
    return polars.concat(parts, how="diagonal_relaxed") if parts else polars.DataFrame()


def _framed(made: Measured, columns: dict[str, Any], optional: Sequence[str], **constants: Any) -> polars.DataFrame:
    """Arrays as columns, NaN as null, with the names of the planes before them and flags after."""
    import polars

    labels = polars.Series(made.labels)
    one, two = (labels.gather(index) for index in (made.planes.first, made.planes.second))
    frame = polars.DataFrame(
        {"plane": one + " × " + two}
        | {name: polars.Series(values, nan_to_null=True) for name, values in columns.items()}
    )
    facts = {"basis": made.name, "transform": made.transform, **constants}
    absent = [polars.lit(None).alias(name) for name in optional if name not in columns]
    flags = polars.lit(", ".join(made.flags)).alias("flags")
    return frame.select(*(polars.lit(value).alias(name) for name, value in facts.items()), polars.all(), *absent, flags)


def corrected(
    planes: polars.DataFrame,
    tests: polars.DataFrame,
    fdr: Fdr,
    counted: set[tuple[str, str, str]] | None = None,
) -> tuple[polars.DataFrame, polars.DataFrame, int]:
    """With q over planes × groups × statistics of the run, and the size of that family.

    `counted` names the (basis, transform, plane) that stand for their clusters; the others get no q.
    """
    import polars

    frames = [frame for frame in (planes, tests) if len(frame)]
    p = np.concatenate([frame["p"].to_numpy().astype(np.float64) for frame in frames])
    if counted is not None:
        keys = (row for frame in frames for row in frame.select("basis", "transform", "plane").iter_rows())
        p[[row not in counted for row in keys]] = np.nan
    q = q_values(p, fdr)
    out, start = [], 0
    for frame in (planes, tests):
        own = q[start : start + len(frame)]
        out.append(frame.with_columns(polars.Series("q", own, nan_to_null=True)) if len(frame) else frame)
        start += len(frame)
    return out[0], out[1], int((~np.isnan(p)).sum())


def leading(frame: polars.DataFrame, by: str, count: int) -> list[dict[str, Any]]:
    """The first lines by q, then by size; as fields of a record."""
    if not len(frame):
        return []
    order = np.lexsort((-frame[by].to_numpy(), frame["q"].fill_null(2.0).to_numpy()))[:count]
    known = PlaneGroup.model_fields.keys() | GroupTest.model_fields.keys()
    rows = frame.select([name for name in frame.columns if name in known])[order].to_dicts()
    return [{**row, "flags": tuple(row["flags"].split(", ")) if row["flags"] else ()} for row in rows]


def columns(rows: Sequence[Any]) -> dict[str, list[Any]]:
    """Records as equally long columns; lists as text."""
    if not rows:
        return {}
    names = type(rows[0]).model_fields
    return {name: [_flat(getattr(row, name)) for row in rows] for name in names}


def chosen(made: Measured, count: int) -> list[int]:
    """The planes that are drawn: smallest p first, then largest r."""
    p = np.nanmin([np.nan_to_num(p_values(made, group), nan=1.0) for group in made.rows.groups], axis=0)
    largest = np.max([made.statistics[g].r for g in made.rows.groups], axis=0)
    return np.lexsort((-largest, p))[:count].tolist()


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
        plane=made.label(place),
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
    every = np.linspace(0, len(made.planes) - 1, min(_PLANES, len(made.planes))).astype(int)
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

    count = len(made.planes)
    if not 3 <= count <= _MAPPED:
        return None, None
    angles = principal_angles(frames(made, range(count)))
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
        names=tuple(made.label(i) for i in range(count)),
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
    return np.full(len(made.planes), Isotropy(made.vectors.shape[1]).mean_radius(held.n))


def p_values(made: Measured, group: str) -> np.ndarray:
    """The p of r_G of each plane, NaN where none is given."""
    tested = made.tested.get(group)
    if made.circular or "no null" in made.flags or (tested is None and group not in made.haar):
        return np.full(len(made.planes), np.nan)
    return made.haar[group] if tested is None else tested.p


def _flat(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else value
