"""What r_G, pseudo-F, crowding and spans are compared with, by the kind of basis.

`labels`: groups exchanged within strata. `matched`: pairs of units alike in μ, log σ, firing rate. `gaussian`: planes
of equal covariance. `pool`: features of the same firing-rate decile. `haar`: the analytic law of random planes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.core import derive
from radiograph.evidence.resonance import Filter, Triangulation

if TYPE_CHECKING:
    from radiograph.methods.resonance._planes._measure import Measured
    from radiograph.numerics.planes import Source, Tested, Transform
    from radiograph.store.planes import StoredBasis

_CONTROLS = 50
"""Units that stand for a unit in its null, at most an eighth of the site."""
_TURNED = 10**7
"""Rows × planes × draws of turned bases: some seconds."""
_SPANNED, _SPANS = 128, 199
"""Vectors of a span, and spans drawn."""
ANGLES = ("rayleigh", "hodges_ajne", "kuiper")


def part(tested: Tested, places: slice) -> Tested:
    """Some columns; maxima stay those of all."""
    names = ("observed", "p", "standard", "redrawn")
    chosen = {name: getattr(tested, name)[places] for name in names}
    return replace(tested, quantiles=tested.quantiles[:, places], **chosen)


def lengths(
    made: Measured, stored: StoredBasis, unit: np.ndarray, transform: Transform, seed: int, options: dict[str, Any]
) -> None:
    """r_G of each group against fixed planes' null."""
    from radiograph.numerics.planes import GroupLength, PlaneLengths, against_null, gaussian_vectors

    assert made.z is not None, "streamed planes have the analytic null"
    names = np.array(made.rows.names)
    labels = made.rows.labels()
    null = made.null
    if null == "labels" and (_decided(made, stored) or len(labels.groups) < 2):
        _without(made, "labels decided the basis, or there is one group: r_G has no p from exchanged labels")
        return
    if null == "pool" and (stored.pool is None or stored.alike is None):
        _without(made, "firing rates are not stored with the basis, so that no features are known to be alike")
        return
    if null == "matched" and not _unit_axes(stored, transform):
        made.notes.append("matched units need unit axes, not whitened: the analytic null is used")
        null = "haar"
    made.null = null
    if null == "haar":
        return
    kin = _alike(made, stored, transform) if null in ("matched", "pool") else None
    for group in made.rows.groups:
        mean = unit[names == group].mean(axis=0)
        source: Source
        if null == "labels":
            source = GroupLength(made.z, labels, group)
        elif kin is not None:
            source = kin.pairs(mean)
        else:
            source = PlaneLengths(mean, lambda count, s: gaussian_vectors(unit, count, s))
        made.tested[group] = against_null(made.statistics[group].r, source, seed=derive(seed, null), **options)
        if null == "labels":
            coarse(made, made.tested[group])


def between(made: Measured, stored: StoredBasis, seed: int, options: dict[str, Any]) -> None:
    """pseudo-F over all groups."""
    from radiograph.numerics.planes import PseudoF, against_null

    groups, rows = len(made.rows.groups), len(made.rows.names)
    if groups < 2 or made.z is None:
        return
    if rows <= groups:
        made.notes.append(f"{rows} rows in {groups} groups: groups cannot be compared")
        return
    if _decided(made, stored):
        made.notes.append("labels decided the basis: pseudo-F between those groups would be circular, and is left out")
        return
    labels = made.rows.labels()
    source = PseudoF(made.z, labels)
    made.pseudo_f = against_null(source.observed(), source, seed=derive(seed, "between"), **options)
    coarse(made, made.pseudo_f)


def coarse(made: Measured, tested: Tested) -> None:
    """Say where exchanged labels cannot reach a small p."""
    said = f"the smallest p that exchanged labels can reach is {tested.smallest:.3g}"
    if tested.smallest > 0.05 and said not in made.notes:
        made.notes.append(said)


def axes(
    made: Measured, stored: StoredBasis, unit: np.ndarray, epsilons: tuple[float, ...], seed: int, draws: int
) -> None:
    """A₄, the largest cones, and how evenly angles lie, the basis set turned at random: if no row decided vectors."""
    from radiograph.numerics.planes import Rotated, against_null, fourfold, hodges_ajne, kuiper, rayleigh, supremum

    if stored.record.rows or made.z is None:
        return
    draws = min(draws, _TURNED // (len(unit) * len(made.planes)))
    if draws < 19:
        made.notes.append("too many rows and planes to turn the basis at random: no p for crowded axes and angles")
        return
    groups = [np.array(made.rows.names) == group for group in made.rows.groups]

    def statistics(z: np.ndarray) -> np.ndarray:
        found = [fourfold(z), *(supremum(z, epsilon)[0] for epsilon in epsilons)]
        for mine in groups:
            own = z[:, :, mine]
            # Angles that keep to one side leave a half circle empty: there a small share is surprising.
            found += [rayleigh(own), -hodges_ajne(own), kuiper(own)]
        return np.stack(found, axis=1)

    count = 1 + len(epsilons) + 3 * len(groups)
    source = Rotated(unit, made.vectors @ made.vectors.T, made.planes, statistics, count)
    tested = against_null(statistics(made.z).ravel(), source, seed=derive(seed, "axes"), draws=draws, limit=0)
    made.fourfold = part(tested, slice(0, None, count))
    made.cones = {epsilon: part(tested, slice(1 + i, None, count)) for i, epsilon in enumerate(epsilons)}
    for i, group in enumerate(made.rows.groups):
        at = 1 + len(epsilons) + 3 * i
        made.angles[group] = {name: part(tested, slice(at + j, None, count)) for j, name in enumerate(ANGLES)}
    if (made.rows.rows.values >= -0.2).mean() > 0.99:
        made.flags.append("one-sided")
        made.notes.append("rows are hardly ever negative: crowding of the positive axes is what such a site does")


def span(made: Measured, stored: StoredBasis, unit: np.ndarray, transform: Transform, seed: int) -> Triangulation:
    """Share of the mean row inside the span of the vectors, against spans of as many vectors of the same kind."""
    from radiograph.numerics.planes import gaussian_vectors, triangulated

    mean, vectors = unit.mean(axis=0), made.vectors[:_SPANNED]
    _, share, rank = triangulated(mean, vectors)
    said: dict[str, Any] = {"basis": made.name, "transform": made.transform, "share": share, "rank": rank}
    if made.own:
        return Triangulation(**said, null="none: these rows decided the vectors")
    if made.null == "pool" and (stored.pool is None or stored.alike is None):
        return Triangulation(**said, null="none: no features are known to be alike")
    if made.null == "matched" and not _unit_axes(stored, transform):
        return Triangulation(**said, null="none: no units are alike, the vectors are not unit axes")
    kin = _alike(made, stored, transform) if made.null in ("matched", "pool") else None
    draw: Callable[[int], np.ndarray]
    if kin is not None:
        draw = lambda s: kin.drawn(s, len(vectors))  # noqa: E731
    elif made.null == "gaussian":
        draw = lambda s: gaussian_vectors(unit, len(vectors), s)  # noqa: E731
    else:
        return Triangulation(**said, **_haar_span(share, rank, unit.shape[1]))
    null = np.array([triangulated(mean, draw(derive(seed, "span", number)))[1] for number in range(_SPANS)])
    p = (1 + int((null >= share - 1e-12).sum())) / (1 + _SPANS)
    median, high = (float(np.quantile(null, level)) for level in (0.5, 0.95))
    return Triangulation(**said, null=made.null, null_median=median, null_high=high, p=p)


def _unit_axes(stored: StoredBasis, transform: Transform) -> bool:
    return stored.record.kind == "one-hot" and transform.kind != "whitened"


def _haar_span(share: float, rank: int, width: int) -> dict[str, Any]:
    """The share in a random span of that rank is Beta(rank/2, (D − rank)/2)."""
    from scipy.stats import beta  # pyright: ignore[reportMissingTypeStubs]

    if rank >= width:
        return {"null": "none: the span is everything"}
    law: Any = beta(rank / 2, (width - rank) / 2)
    median, high = float(law.ppf(0.5)), float(law.ppf(0.95))
    return {"null": "haar", "null_median": median, "null_high": high, "p": float(law.sf(share))}


def _without(made: Measured, why: str) -> None:
    made.flags.append("no null")
    made.notes.append(why)


def _decided(made: Measured, stored: StoredBasis) -> bool:
    """Whether the tested labels are among those that decided the vectors on these rows."""
    return made.own and bool(decided_by(stored) & set(made.rows.by))


def decided_by(stored: StoredBasis) -> set[str]:
    """Factors that the terms of a basis name."""
    return {clause.factor for term in stored.record.terms for clause in Filter.parse(term).clauses}


class _Alike:
    """Directions, and which of them stand for each vector of a basis, itself first."""

    def __init__(self, made: Measured, directions: np.ndarray | None, table: np.ndarray) -> None:
        self.made, self.directions, self.table = made, directions, table

    def pairs(self, mean: np.ndarray) -> Source:
        """The null of r_G of rows with this mean."""
        from radiograph.numerics.planes import AlikePairs

        planes, table = self.made.planes, self.table
        if self.directions is None:
            return AlikePairs(mean, table[planes.first], table[planes.second])
        gram = self.directions @ self.directions.T
        return AlikePairs(self.directions @ mean, table[planes.first], table[planes.second], gram)

    def drawn(self, seed: int, count: int) -> np.ndarray:
        """One direction for each of the first vectors."""
        table = self.table[:count]
        chosen = table[np.arange(len(table)), np.random.default_rng(seed).integers(0, table.shape[1], len(table))]
        if self.directions is not None:
            return self.directions[chosen]
        axes = np.zeros((len(chosen), self.made.vectors.shape[1]))
        axes[np.arange(len(chosen)), chosen] = 1
        return axes


def _alike(made: Measured, stored: StoredBasis, transform: Transform) -> _Alike:
    from radiograph.methods.resonance._planes._groups import without
    from radiograph.numerics.planes import alike, unit_rows

    if made.null == "pool" and stored.pool is not None and stored.alike is not None:
        directions, _ = unit_rows(without(transform.apply(stored.pool, stored.record.role), made.written))
        return _Alike(made, directions, stored.alike.astype(np.int64))
    values = made.rows.rows.values.astype(np.float64)
    mean, sd, firing = made.natural or (values.mean(axis=0), values.std(axis=0), (values > 0).mean(axis=0))
    moving = sd > 0
    logs = np.log(np.where(moving, sd, sd[moving].min(initial=1.0) / np.e))
    size = max(10, min(_CONTROLS, len(mean) // 8))
    units = np.abs(made.vectors).argmax(axis=1)
    return _Alike(made, None, alike(np.stack([mean, logs, firing], axis=1), units, size))
