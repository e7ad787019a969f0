"""What r_G, pseudo-F and A₄ are compared with, by the kind of basis.

`labels`: groups exchanged within strata. `matched`: pairs of units alike in μ, log σ, firing rate. `gaussian`: planes
of equal covariance. `pool`: other directions of the same kind. `haar`: the analytic law of random planes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.core import derive
from radiograph.evidence.resonance import Filter

if TYPE_CHECKING:
    from radiograph.methods.resonance._planes._measure import Measured
    from radiograph.numerics.planes import Source, Tested, Transform
    from radiograph.store.planes import StoredBasis

_CONTROLS = 50
"""Units that stand for a unit in its null, at most an eighth of the site."""


@dataclass(frozen=True, eq=False)
class MatchedPairs:
    """Source of r_G in planes of units that are like those of each plane."""

    means: np.ndarray
    """Mean unit row, one number a unit."""
    first: np.ndarray
    """[plane, control]: units like the first of a plane."""
    second: np.ndarray

    @property
    def pairs(self) -> int:
        """Pairs of controls that there are: no p can be finer."""
        return self.first.shape[1] * self.second.shape[1]

    def smallest(self, draws: int) -> float:
        return 1 / (1 + min(draws, self.pairs))

    def draws(self, wanted: int) -> int:
        return min(wanted, self.pairs)

    def chunks(self, columns: np.ndarray, draws: int, seed: int) -> Iterator[np.ndarray]:
        controls = self.second.shape[1]
        one, two = self.means[self.first[columns]], self.means[self.second[columns]]
        every = np.arange(self.pairs)
        chosen = every if draws == self.pairs else np.random.default_rng(seed).choice(every, draws)
        for start in range(0, draws, 1000):
            part = chosen[start : start + 1000]
            yield np.hypot(one[:, part // controls], two[:, part % controls]).T


def part(tested: Tested, places: slice) -> Tested:
    """Some columns; maxima stay those of all."""
    names = ("observed", "p", "standard", "redrawn")
    chosen = {name: getattr(tested, name)[places] for name in names}
    return replace(tested, quantiles=tested.quantiles[:, places], **chosen)


def lengths(
    made: Measured, stored: StoredBasis, unit: np.ndarray, transform: Transform, seed: int, options: dict[str, Any]
) -> None:
    """r_G of each group against fixed planes' null."""
    from radiograph.numerics.planes import GroupLength, Labels, PlaneLengths, against_null

    assert made.z is not None, "streamed planes have the analytic null"
    names = np.array(made.rows.names)
    labels = Labels(made.rows.names, made.rows.strata)
    null = made.null
    if null == "labels" and (_decided(made, stored) or len(labels.groups) < 2):
        made.flags.append("no label null")
        made.notes.append("labels decided the basis, or there is one group: r_G has no p from exchanged labels")
        return
    if null == "matched" and (stored.record.kind != "one-hot" or transform.kind == "whitened"):
        made.notes.append("matched units need unit axes, not whitened: the analytic null is used")
        null = "haar"
    if null == "pool" and stored.pool is None:
        null = "haar"
    made.null = null
    if null == "haar":
        return
    for group in made.rows.groups:
        mean = unit[names == group].mean(axis=0)
        source: Source
        if null == "labels":
            source = GroupLength(made.z, labels, group)
        elif null == "matched":
            source = _matched(made, mean)
        else:
            vectors = _pooled(stored, transform) if null == "pool" else None
            if vectors is not None:
                # Draws repeat the pairs of the pool: more of them would not make p finer.
                options = {
                    **options,
                    "limit": 0,
                    "draws": min(options["draws"], len(vectors) * (len(vectors) - 1) // 2),
                }
            source = PlaneLengths(mean, lambda count, s, v=vectors: _drawn(unit, v, count, s))
        made.tested[group] = against_null(made.statistics[group].r, source, seed=derive(seed, null), **options)


def between(made: Measured, stored: StoredBasis, seed: int, options: dict[str, Any]) -> None:
    """pseudo-F over all groups."""
    from radiograph.numerics.planes import Labels, PseudoF, against_null

    groups, rows = len(made.rows.groups), len(made.rows.names)
    if groups < 2 or made.z is None:
        return
    if rows <= groups:
        made.notes.append(f"{rows} rows in {groups} groups: groups cannot be compared")
        return
    if _decided(made, stored):
        made.notes.append("labels decided the basis: pseudo-F between those groups would be circular, and is left out")
        return
    labels = Labels(made.rows.names, made.rows.strata)
    source = PseudoF(made.z, labels)
    made.pseudo_f = against_null(source.observed(), source, seed=derive(seed, "between"), **options)
    if made.pseudo_f.smallest > 0.05:
        made.notes.append(f"the smallest p that exchanged labels can reach is {made.pseudo_f.smallest:.3g}")


def axes(made: Measured, stored: StoredBasis, unit: np.ndarray, seed: int, draws: int) -> None:
    """A₄ against the basis set turned at random: for vectors that no row decided."""
    from radiograph.numerics.planes import Rotated, against_null, fourfold

    if stored.record.rows or stored.record.kind not in ("one-hot", "file", "random", "decoder") or made.z is None:
        return
    gram = made.vectors @ made.vectors.T
    source = Rotated(unit, gram, made.planes, fourfold)
    made.fourfold = against_null(fourfold(made.z), source, seed=derive(seed, "axes"), draws=draws, limit=0)
    if (made.rows.rows.values >= -0.2).mean() > 0.99:
        made.flags.append("one-sided")
        made.notes.append("rows are hardly ever negative: crowding of the positive axes is what such a site does")


def _decided(made: Measured, stored: StoredBasis) -> bool:
    """Whether the tested labels are among those that decided the vectors on these rows."""
    record = stored.record
    if record.source_sha256 is None or record.source_sha256 != made.rows.rows.sha256:
        return False
    if not record.built_from_labels:
        return False
    factors = {clause.factor for term in record.terms for clause in Filter.parse(term).clauses}
    return bool(factors & set(made.rows.by))


def _matched(made: Measured, mean: np.ndarray) -> MatchedPairs:
    from radiograph.numerics.units import matched_units

    values = made.rows.rows.values.astype(np.float64)
    sd, firing = values.std(axis=0), (values > 0).mean(axis=0)
    ones = np.ones(values.shape[1])
    units = np.abs(made.vectors).argmax(axis=1)
    controls = max(10, min(_CONTROLS, values.shape[1] // 8))
    alike = {}
    for unit in set(units.tolist()):
        if sd[unit] > 0:
            found = matched_units(
                unit, controls, norms=ones, mean=values.mean(axis=0), sd=sd, firing=firing, exclude=units.tolist()
            )
            alike[unit] = found.units if len(found.units) else np.array([unit])
        else:
            alike[unit] = np.array([unit])
    least = min(len(found) for found in alike.values())
    table = np.array([alike[unit][:least] for unit in units.tolist()])
    return MatchedPairs(mean, table[made.planes.first], table[made.planes.second])


def _pooled(stored: StoredBasis, transform: Transform) -> np.ndarray | None:
    return None if stored.pool is None else transform.apply(stored.pool, stored.record.role)


def _drawn(unit: np.ndarray, pool: np.ndarray | None, count: int, seed: int) -> np.ndarray:
    from radiograph.numerics.planes import gaussian_vectors

    if pool is None:
        return gaussian_vectors(unit, count, seed)
    generator = np.random.default_rng(seed)
    pairs = np.argsort(generator.random((count // 2, len(pool))), axis=1)[:, :2]
    return pool[pairs.ravel()]
