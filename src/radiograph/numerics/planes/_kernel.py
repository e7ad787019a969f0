"""Bases built from the rows that they are asked about: rebuilt inside every relabelling, from products of rows alone.

1. A basis vector is a weighted sum of means of terms, b = Σ w·mean(x), a term a set of rows: `means` has one term each,
   `contrast` takes the grand mean off, `difference` one term from another. Or it is the normal of a ridge probe for a
   term, Σ α·x with α = (K + λI)⁻¹y, K the centred products of rows, λ their mean variance: linear in the labels too.
2. Cosines with rows need only X̂Xᵀ, lengths and angles between basis vectors only XXᵀ: with Gram matrices at hand a
   relabelling costs N², whatever the width.
3. Folds: row i of core k is scored against the basis fitted without core k, and all rows are pooled. A row that helped
   to make a vector points at it by construction; with few rows in many dimensions that alone gives a large r_G.
4. Vectors that no label decides (a component) may stand among the others; each fold has its own, fitted without a core.
5. Null: labels permuted inside cores, the basis rebuilt with its folds, r_G of every plane and group taken again. The
   counts of a core and group do not change, so that the weights are those of the data.

Refuses when a term keeps no row outside some core (`fold_empty`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from radiograph.core import Refusal
from radiograph.core.shapes import Bool, Float, Float64, Int8, Integer
from radiograph.numerics.planes._labels import Labels, numbered
from radiograph.numerics.planes._transforms import unit_rows

Fold = Literal["core", "none"]


@dataclass(frozen=True, eq=False)
class Terms:
    """What a basis is made of: vector = Σ weight · mean of the rows of a term; a term is a union of label groups."""

    members: Bool[np.ndarray, "term group"]
    weights: Float64[np.ndarray, "vector term"]

    @classmethod
    def means(cls, groups: int) -> Terms:
        """One vector a group."""
        return cls(np.eye(groups, dtype=bool), np.eye(groups))

    @classmethod
    def contrast(cls, groups: int) -> Terms:
        """Group less grand mean."""
        members = np.concatenate([np.eye(groups, dtype=bool), np.ones((1, groups), dtype=bool)])
        return cls(members, np.concatenate([np.eye(groups), -np.ones((groups, 1))], axis=1))


@dataclass(frozen=True, eq=False)
class _Rebuilt(ABC):
    """Rows, their labels, and a basis that labels decide; columns are (plane, scored), scored fastest."""

    labels: Labels
    cores: Integer[np.ndarray, " row"]
    """The fold of each row, 0, 1, …; all 0 without folds."""
    first: Integer[np.ndarray, " plane"]
    second: Integer[np.ndarray, " plane"]
    sets: Bool[np.ndarray, "scored group"]
    """Unions of label groups whose r_G is asked for."""

    def coordinates(self) -> Float64[np.ndarray, "2 plane row"]:
        """Where every row lies in the planes that its fold fitted, as labelled."""
        return self._coordinates(self.labels.codes[None])[:, 0]

    def observed(self) -> Float64[np.ndarray, " column"]:
        """r_G of every (plane, group), as labelled."""
        return self._lengths(self.labels.codes[None])[0]

    def smallest(self, draws: int) -> float:
        return self.labels.smallest(draws)

    def draws(self, wanted: int) -> int:
        return wanted

    def chunks(
        self, columns: Integer[np.ndarray, " column"], draws: int, seed: int
    ) -> Iterator[Float[np.ndarray, "draw column"]]:
        # A chunk holds [draw, row, group] a few times over.
        size = max(1, (1 << 21) // (len(self.labels.groups) + 2 * len(self.first)))
        for codes in self.labels.permuted(draws, seed, size):
            yield self._lengths(codes)[:, columns]

    def _lengths(self, codes: Int8[np.ndarray, "draw row"]) -> Float64[np.ndarray, "draw column"]:
        z = self._coordinates(codes)
        groups: list[Float64[np.ndarray, "draw plane"]] = []
        for members in self.sets:
            size = int(self.labels.sizes[members].sum())
            mean = np.einsum("kdpn,dn->kdp", z, members[codes].astype(np.float64)) / size
            groups.append(np.hypot(mean[0], mean[1]))
        return np.stack(groups, axis=2).reshape(len(codes), -1)

    def _coordinates(self, codes: Int8[np.ndarray, "draw row"]) -> Float64[np.ndarray, "2 draw plane row"]:
        vectors, gram = self._products(codes)
        norm = np.sqrt(np.maximum(np.einsum("dfvv->dfv", gram), 1e-300))
        cosine = gram / (norm[..., :, None] * norm[..., None, :])
        unit = vectors / np.moveaxis(norm[:, self.cores], 1, 2)
        c = np.moveaxis(cosine[:, self.cores][..., self.first, self.second], 1, 2)
        s = np.sqrt(np.maximum(1 - c**2, 1e-12))
        one = unit[:, self.first]
        return np.stack([one, (unit[:, self.second] - c * one) / s])

    @property
    @abstractmethod
    def work(self) -> int:
        """Products that a relabelling costs."""

    @abstractmethod
    def _products(
        self, codes: Int8[np.ndarray, "draw row"]
    ) -> tuple[Float64[np.ndarray, "draw vector row"], Float64[np.ndarray, "draw fold vector vector"]]:
        """Unit rows with the vectors of their fold, and those vectors with one another."""


@dataclass(frozen=True, eq=False)
class LabelBasis(_Rebuilt):
    """Vectors that are sums of means of label groups, and after them vectors that no label decides."""

    scored: Float64[np.ndarray, "row row"]
    """X̂Xᵀ: unit rows with rows."""
    products: Float64[np.ndarray, "row row"]
    """XXᵀ."""
    weights: Float64[np.ndarray, "fold vector group"]
    """Of sums over the rows that a fold fits with, not of means."""
    folded: bool
    rows: Float64[np.ndarray, "row width"]
    fixed: Float64[np.ndarray, "fold other width"]

    @classmethod
    def of(
        cls,
        rows: Float[np.ndarray, "row width"],
        labels: Labels,
        cores: Sequence[Hashable],
        terms: Terms,
        pairs: tuple[Integer[np.ndarray, " plane"], Integer[np.ndarray, " plane"]],
        fold: Fold = "core",
        sets: Bool[np.ndarray, "scored group"] | None = None,
        fixed: Float[np.ndarray, "fold other width"] | None = None,
    ) -> LabelBasis:
        """Gram matrices, folds and weights. `rows` are transformed; none is zero. `sets` is each group by default.

        `fixed` holds further vectors for each core, in the order of first appearance.

        Raises:
            Refusal: a term has no row outside some core.
        """
        values = rows.astype(np.float64)
        unit, _ = unit_rows(values)
        folds: Sequence[Hashable] = cores if fold == "core" else ["all"] * len(cores)
        names, places = list(dict.fromkeys(folds)), numbered(folds)
        groups = len(labels.groups)
        inside = np.zeros((len(names), groups))
        np.add.at(inside, (places, labels.codes), 1)
        counts = labels.sizes - inside if fold == "core" else inside
        sizes = counts @ terms.members.T
        if (sizes < 1).any():
            core, _ = (int(i) for i in np.argwhere(sizes < 1)[0])
            raise _empty(names[core])
        return cls(
            labels,
            places,
            *pairs,
            np.eye(groups, dtype=bool) if sets is None else sets,
            scored=unit @ values.T,
            products=values @ values.T,
            weights=np.einsum("vt,tg,ft->fvg", terms.weights, terms.members, 1 / sizes),
            folded=fold == "core",
            rows=values,
            fixed=np.empty((len(names), 0, values.shape[1])) if fixed is None else fixed.astype(np.float64),
        )

    @property
    def work(self) -> int:
        return self.products.size * len(self.labels.groups)

    def _products(
        self, codes: Int8[np.ndarray, "draw row"]
    ) -> tuple[Float64[np.ndarray, "draw vector row"], Float64[np.ndarray, "draw fold vector vector"]]:
        members = (codes[:, None, :] == np.arange(len(self.labels.groups))[None, :, None]).astype(np.float64)
        dots, lengths = self._against_sums(members)
        vectors = np.einsum("nvg,dgn->dvn", self.weights[self.cores], dots)
        gram = np.einsum("fvg,dfgh,fwh->dfvw", self.weights, lengths, self.weights)
        if not self.fixed.shape[1]:
            return vectors, gram
        unit, _ = unit_rows(self.rows)
        own = np.einsum("nw,now->on", unit, self.fixed[self.cores])
        kept = (self.cores != np.arange(len(self.fixed))[:, None]) | (not self.folded)
        along = np.einsum("fow,nw->fon", self.fixed, self.rows) * kept[:, None, :]
        across = np.einsum("fvg,dgn,fon->dfvo", self.weights, members, along, optimize=True)
        corner = np.broadcast_to(
            self.fixed @ np.moveaxis(self.fixed, 1, 2), (len(codes), *gram.shape[1:2], *[own.shape[0]] * 2)
        )
        return (
            np.concatenate([vectors, np.broadcast_to(own, (len(codes), *own.shape))], axis=1),
            np.block([[gram, across], [np.moveaxis(across, 2, 3), corner]]),
        )

    def _against_sums(
        self, members: Float64[np.ndarray, "draw group row"]
    ) -> tuple[Float64[np.ndarray, "draw group row"], Float64[np.ndarray, "draw fold group group"]]:
        """Rows with the group sums of their fold, and those sums with one another."""
        dots = members @ self.scored.T
        whole = members @ self.products
        folds = len(self.weights)
        between = np.repeat((whole @ np.moveaxis(members, 1, 2))[:, None], folds, axis=1)
        if self.folded:
            for fold in range(folds):
                mine = self.cores == fold
                own = np.moveaxis(members[:, :, mine], 1, 2)
                dots[:, :, mine] -= members[:, :, mine] @ self.scored[np.ix_(mine, mine)].T
                across = whole[:, :, mine] @ own
                inner = members[:, :, mine] @ self.products[np.ix_(mine, mine)] @ own
                between[:, fold] += inner - across - np.moveaxis(across, 1, 2)
        return dots, between


@dataclass(frozen=True, eq=False)
class ProbeBasis(_Rebuilt):
    """Normals of ridge probes, one a term: fitted again with every labelling, in every fold."""

    members: Bool[np.ndarray, "term group"]
    reach: Float64[np.ndarray, "row row"]
    """Unit row n with what row i adds to the probe of n's fold."""
    metric: Float64[np.ndarray, "fold row row"]
    """What rows i and j add to the products of the probes of a fold."""

    @classmethod
    def of(
        cls,
        rows: Float[np.ndarray, "row width"],
        labels: Labels,
        cores: Sequence[Hashable],
        members: Bool[np.ndarray, "term group"],
        pairs: tuple[Integer[np.ndarray, " plane"], Integer[np.ndarray, " plane"]],
        sets: Bool[np.ndarray, "scored group"] | None = None,
    ) -> ProbeBasis:
        """Rows are transformed; none is zero."""
        values = rows.astype(np.float64)
        unit, _ = unit_rows(values)
        places = numbered(cores)
        products, scored = values @ values.T, unit @ values.T
        groups = np.eye(len(labels.groups), dtype=bool)
        reach, metric = np.empty_like(products), np.empty((places.max() + 1, *products.shape))
        for fold in range(len(metric)):
            weights = ridge(products, places != fold)
            reach[places == fold] = scored[places == fold] @ weights
            metric[fold] = weights @ products @ weights
        chosen = groups if sets is None else sets
        return cls(labels, places, *pairs, chosen, members=members, reach=reach, metric=metric)

    @property
    def work(self) -> int:
        return (self.metric.size + self.reach.size) * len(self.members)

    def _products(
        self, codes: Int8[np.ndarray, "draw row"]
    ) -> tuple[Float64[np.ndarray, "draw vector row"], Float64[np.ndarray, "draw fold vector vector"]]:
        targets = np.moveaxis(self.members.T[codes].astype(np.float64), 1, 2)
        through = targets[:, None] @ self.metric
        return targets @ self.reach.T, through @ np.moveaxis(targets, 1, 2)[:, None]


def ridge(products: Float64[np.ndarray, "row row"], kept: Bool[np.ndarray, " row"]) -> Float64[np.ndarray, "row row"]:
    """W such that y·W·X is the normal of a ridge probe for y, fitted on the kept rows; λ is their mean variance."""
    count = int(kept.sum())
    centring = np.eye(count) - 1 / count
    centred = centring @ products[np.ix_(kept, kept)] @ centring
    strength = float(np.trace(centred)) / count
    if strength <= 0:
        raise Refusal("rows_equal", "rows that are all equal decide no probe", got=f"{count} rows")
    out = np.zeros_like(products)
    out[np.ix_(kept, kept)] = centring @ np.linalg.solve(centred + strength * np.eye(count), centring)
    return out


def _empty(core: Hashable) -> Refusal:
    return Refusal(
        "fold_empty",
        "a basis cannot be fitted without one core",
        got=f"all rows that a vector is made of are of core {core!r}",
        fix="add cores, or say --fold none and read the result as circular",
    )
