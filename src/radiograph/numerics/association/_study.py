"""Halves of a study: what is decided before any feature is seen, and the screen of every feature on discover.

1. `study`: units and design; a sham set of labels, exchanged as chance would; folds and random halves. Labels alone.
2. `screen`, for all features or a part of them: firing decides who is eligible, without labels; then z, estimate and r
   on discover, z under sham labels, r in random halves. Parts joined by `joined` equal the whole.
3. `select`: the K largest |z| on discover, for real and for sham labels. Ties go to the lower feature number.

Refuses: what `check_sizes` refuses; no eligible feature (`few_active`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from radiograph.core import Refusal, UserError
from radiograph.core.seeds import derive
from radiograph.core.shapes import Bool, Float32, Float64, Int64, Num, Shaped
from radiograph.numerics.association._columns import Columns
from radiograph.numerics.association._measure import Measured, measured, sizes, z_of
from radiograph.numerics.association._power import eligible, needed_z, ranks_of, reachable_z
from radiograph.numerics.association._stability import folds, half_contrasts, half_correlations, split_halves
from radiograph.numerics.association._units import FEWEST, Units, check_sizes, units_of
from radiograph.numerics.association.estimates import exchanges, flips
from radiograph.numerics.multiplicity import Fdr


@dataclass(frozen=True)
class Settings:
    """Choices of a study; none may be made after looking at confirm."""

    candidates: int = 50
    """K: features taken from discover to confirm."""
    q: float = 0.05
    fdr: Fdr = "bh"
    permutations: int = 2000
    """Raised to 2K/q if that is larger; 0 for none."""
    bootstrap: int = 1000
    cards: int = 20
    """Candidates that get a bootstrap interval, best first."""
    smallest_effect: float = 0.70
    """AUROC that would matter."""
    seed: int = 0
    preselected: bool = False
    """Features were chosen with the labels of all rows."""
    censored: bool = False
    """Only the largest values of each row were kept."""
    surface_labels: bool = False
    """Length or words of the text tell the labels."""

    def __post_init__(self) -> None:
        """Raises: UserError: a choice out of range."""
        wrong = {
            "candidates": self.candidates < 1,
            "q": not 0 < self.q < 1,
            "permutations": self.permutations < 0,
            "bootstrap": self.bootstrap < 0,
            "smallest_effect": not 0.5 < self.smallest_effect < 1,
        }
        for name in (name for name, bad in wrong.items() if bad):
            raise UserError(f"{name} is out of range", got=str(getattr(self, name)), where=name)


@dataclass(frozen=True, eq=False)
class Study:
    """Everything that labels and groups decide."""

    units: Units
    discover: Units
    confirm: Units
    near: Units | None
    """Positives and near misses of confirm; None below 8 units of either: an interval of fewer misses too often."""
    sham_discover: Float64[np.ndarray, " discover"]
    sham_confirm: Float64[np.ndarray, " confirm"]
    fold: Int64[np.ndarray, " unit"]
    """Of units; of pairs in a within design."""
    halves: Float64[np.ndarray, "fold split"]
    features: int
    settings: Settings = field(default_factory=Settings)

    @property
    def family(self) -> int:
        """K, or the number of features if there are fewer."""
        return min(self.settings.candidates, self.features)


@dataclass(frozen=True, eq=False)
class Screen:
    """Every feature on discover."""

    feature: Int64[np.ndarray, " feature"]
    active: Int64[np.ndarray, " feature"]
    """Units, or pairs that differ, in which it is not zero."""
    eligible: Bool[np.ndarray, " feature"]
    estimate: Float64[np.ndarray, " feature"]
    z: Float64[np.ndarray, " feature"]
    r: Float64[np.ndarray, " feature"]
    g: Float64[np.ndarray, " feature"]
    detectable: Float64[np.ndarray, " feature"]
    """Minimal detectable effect, as a distance from no association."""
    sham: Float64[np.ndarray, " feature"]
    """z under sham labels."""
    stored: Int64[np.ndarray, " feature"]
    """Units in which it was measured."""
    halves: Float32[np.ndarray, "feature half"]
    """r in random halves; NaN for features that are not eligible."""


def study(
    group: Shaped[np.ndarray, " row"],
    label: Num[np.ndarray, " row"] | Bool[np.ndarray, " row"],
    discover: Bool[np.ndarray, " row"],
    *,
    features: int,
    near_miss: Bool[np.ndarray, " row"] | None = None,
    stratum: Shaped[np.ndarray, " row"] | None = None,
    name: Shaped[np.ndarray, " row"] | None = None,
    continuous: bool = False,
    settings: Settings | None = None,
) -> Study:
    """Prepare a study; rows are those of the tables that `screen` and `conclude` get, `name` tells them apart."""
    chosen = settings or Settings()
    units = units_of(group, label, discover, stratum=stratum, name=name, continuous=continuous, seed=chosen.seed)
    check_sizes(units)
    if units.design == "mixed" and not chosen.permutations:
        raise UserError(
            "a mixed design has no p without permutations",
            got="permutations 0",
            fix="ask for permutations, or drop groups that hold both labels",
        )
    one, two = units.among(units.discover), units.among(~units.discover)
    whole = ranks_of(units)
    group_of, label_of = units.group, whole
    if units.design == "within":
        group_of = np.zeros(units.blocks, np.int64)
        group_of[units.block] = units.group
        label_of = np.ones(units.blocks)
    return Study(
        units=units,
        discover=one,
        confirm=two,
        near=None
        if continuous or near_miss is None
        else _near(group, label, discover, stratum, near_miss, name, chosen.seed),
        sham_discover=_sham(one, derive(chosen.seed, "sham", "discover")),
        sham_confirm=_sham(two, derive(chosen.seed, "sham", "confirm")),
        fold=folds(group_of, label_of, continuous=continuous or units.design == "within", seed=chosen.seed),
        halves=split_halves(chosen.seed),
        features=features,
        settings=chosen,
    )


def screen(given: Study, rows: Columns, feature: Int64[np.ndarray, " feature"] | None = None) -> Screen:
    """Every feature of a table of rows on discover; `feature` names them if the table is a part of all.

    Takes about 100 bytes of memory an entry, and 160 a feature are kept.
    """
    number = np.arange(rows.features) if feature is None else feature
    cells = given.units.pooled(rows)
    units = given.discover
    found = measured(units, cells.among(given.units.discover))
    z_star = needed_z(given.settings.q, given.family)
    reach = _reach(units, found)
    chosen = eligible(found.table.active, reach, given.settings.q, given.family)
    size = sizes(units, found)
    halves = np.full((rows.features, 2 * given.halves.shape[1]), np.nan, np.float32)
    kept = np.flatnonzero(chosen)
    if units.design == "within":
        halves[kept] = half_contrasts(given.units.differences(cells.of(kept)), given.fold, given.halves)
    else:
        halves[kept] = half_correlations(
            cells.of(kept), given.units.label, given.units.stratum, given.fold, given.halves
        )
    return Screen(
        feature=number,
        active=found.table.active.astype(np.int64),
        eligible=chosen,
        estimate=found.estimate,
        z=found.law.z,
        r=size.r,
        g=size.g,
        detectable=z_star * found.detectable,
        sham=z_of(units, found, given.sham_discover),
        stored=cells.stored if cells.absent == "missing" else np.full(cells.features, len(given.units)),
        halves=halves,
    )


def joined(parts: list[Screen]) -> Screen:
    """Parts of all features as one screen, by feature number."""
    order = np.argsort(np.concatenate([part.feature for part in parts]), kind="stable")
    held: dict[str, Any] = {
        one.name: np.concatenate([getattr(part, one.name) for part in parts])[order] for one in fields(Screen)
    }
    return Screen(**held)


def select(given: Study, screened: Screen) -> tuple[Int64[np.ndarray, " candidate"], Int64[np.ndarray, " sham"]]:
    """Features to confirm, strongest first, under real and under sham labels.

    Raises:
        Refusal: no feature is eligible.
    """
    places = np.flatnonzero(screened.eligible)
    if not len(places):
        raise Refusal(
            "few_active",
            "no feature is active often enough to be found",
            expected=f"10 active units, and a largest possible |z| of {needed_z(given.settings.q, given.family):.2f}",
            got=f"{len(screened.feature)} features, at most {int(screened.active.max(initial=0))} active units each",
            fix="add groups, or pool over more tokens",
        )
    best = (places[np.argsort(-np.abs(z[places]), kind="stable")][: given.family] for z in (screened.z, screened.sham))
    real, sham = (screened.feature[own] for own in best)
    return real, sham


def _near(
    group: Shaped[np.ndarray, " row"],
    label: np.ndarray,
    discover: Bool[np.ndarray, " row"],
    stratum: Shaped[np.ndarray, " row"] | None,
    near_miss: Bool[np.ndarray, " row"],
    name: Shaped[np.ndarray, " row"] | None,
    seed: int,
) -> Units | None:
    rows = (np.asarray(label, np.float64) == 1) | near_miss
    if (near_miss & (np.asarray(label, np.float64) == 1)).any():
        raise UserError("a near miss is not positive", where=f"row {int(np.flatnonzero(near_miss & (label == 1))[0])}")
    units = units_of(group, label, discover, stratum=stratum, rows=rows & ~discover, name=name, seed=seed)
    return units if min(units.positive, units.negative) >= FEWEST else None


def _sham(units: Units, seed: int) -> Float64[np.ndarray, " unit"]:
    """One draw of what chance may exchange."""
    if units.design == "within":
        return next(flips(units.blocks, 1, seed))[:, 0]
    return next(exchanges(ranks_of(units), units.block, 1, seed))[:, 0]


def _reach(units: Units, found: Measured) -> Float64[np.ndarray, " feature"]:
    """Largest possible |z|."""
    if units.design != "within":
        return reachable_z(found.table, units, found.law.variance)
    most, spread = found.table.sums(np.abs(found.score)), np.sqrt(found.law.variance)
    return np.divide(most, spread, out=np.zeros_like(most), where=spread > 0)
