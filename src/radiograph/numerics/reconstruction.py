"""How well does a dictionary reproduce activations? Sums over rows that arrive in batches, in any order, on any worker.

Per row: y the activation, ŷ its reconstruction, e = y − ŷ, ȳ the mean of y over the whole set.
1. FVU = Σ‖e‖² / Σ‖y − ȳ‖², one ratio for the set; explained variance EV = 1 − FVU.
2. Under their own names, because published numbers use them: `ev_centred` = 1 − Σ‖e − ē‖²/Σ‖y − ȳ‖² (forgives bias),
   `ev_per_token` = mean of 1 − ‖e‖²/‖y − centre‖² with a centre fixed beforehand, `nmse` = mean ‖e‖²/‖y‖², cosine =
   mean ⟨y, ŷ⟩/(‖y‖‖ŷ‖), `norm_ratio` = mean ‖ŷ‖/‖y‖, `shrinkage` = Σ‖ŷ‖²/Σ⟨y, ŷ⟩ (1: none; Rajamanoharan et al. 2024).
3. Codes: L0 = active features per row (mean, median, 95 % point), L1 per row, density = share of rows on which a
   feature fires. Dead: fired on none of n rows, that is density below 3/n with 95 % confidence. Dense: above .1.
4. Recovered loss = (ablated − spliced)/(ablated − clean), for zero or mean ablation; the same for KL with clean = 0.

Sums are float64, squares about the mean of each part (Chan, Golub and LeVeque 1983): batch size and order change a
result by less than 1e-12 of itself. Rows of norm zero have no ratio; they are counted and left out of per-row means.
Refuses: rows that do not vary (FVU has no denominator); an ablation that costs less than .05 nats per token.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from radiograph.core import Refusal, UserError
from radiograph.core.shapes import Float, Float64, Int
from radiograph.numerics._finite import finite
from radiograph.numerics.moments import Moments

MIN_GAP = 0.05
"""Nats per token that an ablation must cost before a share of it means anything."""
DENSE = 0.1
_BIN_EDGES = np.linspace(-7, 0, 71)


@dataclass(frozen=True)
class Reconstruction:
    """Quality on one set of rows."""

    n: int
    fvu: float
    explained_variance: float
    ev_centred: float
    ev_per_token: float | None
    """None: no centre was given before the first row."""
    nmse: float
    cosine: float
    norm_ratio: float
    shrinkage: float | None
    """None: the reconstruction has no component along the activations."""
    zero_rows: int


@dataclass(eq=False, slots=True)
class ReconstructionSums:
    """Sums behind `Reconstruction`: `add` batches, `merge` workers, then `result`."""

    width: int
    centre: Float[np.ndarray, " width"] | None = None
    """Mean of the activations, from an earlier pass; only `ev_per_token` needs it."""
    target: Moments = field(init=False)
    error: Moments = field(init=False)
    _totals: Float64[np.ndarray, " 6"] = field(init=False)
    """Σ of ‖e‖², ‖ŷ‖², ⟨y, ŷ⟩ and of the per-row nmse, cosine, norm ratio."""
    _per_token: Float64[np.ndarray, " 2"] = field(init=False)
    """Σ of ‖e‖²/‖y − centre‖², and rows in it."""
    _zero_rows: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.target, self.error = Moments(self.width), Moments(self.width)
        self._totals, self._per_token = np.zeros(6), np.zeros(2)

    def add(self, target: Float[np.ndarray, "row width"], reconstruction: Float[np.ndarray, "row width"]) -> None:
        """Take in rows of activations and their reconstructions.

        Raises:
            UserError: shapes that differ, a value that is not finite.
        """
        if target.shape != reconstruction.shape or target.shape[1:] != (self.width,):
            raise UserError("activations and reconstructions differ", got=f"{target.shape}, {reconstruction.shape}")
        y, rebuilt = finite(target, "activations"), finite(reconstruction, "reconstructions")
        e = y - rebuilt
        self.target.add(y)
        self.error.add(e)
        missed, norms, rebuilt_norms, along = _dots(e, e), _dots(y, y), _dots(rebuilt, rebuilt), _dots(y, rebuilt)
        live = norms > 0
        size, rebuilt_size = np.sqrt(norms[live]), np.sqrt(rebuilt_norms[live])
        # A reconstruction of norm zero points nowhere: cosine 0.
        cosines = np.divide(along[live], size * rebuilt_size, out=np.zeros_like(size), where=rebuilt_size > 0)
        per_row = ((missed[live] / norms[live]).sum(), cosines.sum(), (rebuilt_size / size).sum())
        self._totals = self._totals + np.array([missed.sum(), rebuilt_norms.sum(), along.sum(), *per_row])
        self._zero_rows += int((~live).sum())
        if self.centre is not None:
            spread = _dots(y - self.centre, y - self.centre)
            shares = missed[spread > 0] / spread[spread > 0]
            self._per_token = self._per_token + np.array([shares.sum(), len(shares)])

    def merge(self, other: ReconstructionSums) -> None:
        """Take in everything that another one has seen; both must use the same centre."""
        self.target.merge(other.target)
        self.error.merge(other.error)
        self._totals = self._totals + other._totals
        self._per_token = self._per_token + other._per_token
        self._zero_rows += other._zero_rows

    def result(self) -> Reconstruction | Refusal:
        """Quality over everything seen, or a Refusal (`no_variance`)."""
        spread, live = self.target.total, self.target.count - self._zero_rows
        if not spread > 0:
            return Refusal("no_variance", "rows that do not vary have no FVU", got=f"{self.target.count} rows")
        missed, energy, along, nmse, cosine, ratio = (float(x) for x in self._totals)
        ratios, rows = (float(x) for x in self._per_token)
        return Reconstruction(
            n=self.target.count,
            fvu=missed / spread,
            explained_variance=1 - missed / spread,
            ev_centred=1 - self.error.total / spread,
            ev_per_token=1 - ratios / rows if rows else None,
            nmse=nmse / live,
            cosine=cosine / live,
            norm_ratio=ratio / live,
            shrinkage=energy / along if along > 0 else None,
            zero_rows=self._zero_rows,
        )


@dataclass(frozen=True, eq=False)
class CodeStatistics:
    """How sparse codes are, and which features fire."""

    n: int
    l0: float
    l0_median: int
    l0_95: int
    l1: float
    density: Float64[np.ndarray, " feature"]
    histogram: Int[np.ndarray, " 70"]
    """Live features per bin of log10 density, −7 to 0."""
    dead: int
    dead_below: float
    """3/n: the density that a feature silent on n rows stays below, with 95 % confidence."""
    dense: int


@dataclass(eq=False, slots=True)
class CodeSums:
    """Sums behind `CodeStatistics`: `add` batches, `merge` workers, then `result`. Counts are exact."""

    features: int
    fired: Int[np.ndarray, " feature"] = field(init=False)
    """Rows on which each feature fired."""
    _rows_by_l0: Int[np.ndarray, " l0"] = field(init=False)
    _l1: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self.fired = np.zeros(self.features, dtype=np.int64)
        self._rows_by_l0 = np.zeros(self.features + 1, dtype=np.int64)

    def add(
        self,
        active: Int[np.ndarray, " row"],
        l1: Float[np.ndarray, " row"],
        fired: Int[np.ndarray, " feature"],
    ) -> None:
        """Take in the active features and the L1 norm of each row, and the rows on which each feature fired."""
        if int(active.sum()) != int(fired.sum()) or len(active) != len(l1):
            raise UserError("code counts disagree", got=f"{int(active.sum())} by rows, {int(fired.sum())} by features")
        self.fired = self.fired + fired
        self._rows_by_l0 = self._rows_by_l0 + np.bincount(active, minlength=self.features + 1)
        self._l1 += float(finite(l1, "L1 norms").sum())

    def add_dense(self, codes: Float[np.ndarray, "row feature"]) -> None:
        """Take in codes of every feature; active means not zero."""
        on = codes != 0
        self.add(on.sum(axis=1), np.abs(codes).sum(axis=1, dtype=np.float64), on.sum(axis=0))

    def merge(self, other: CodeSums) -> None:
        """Take in everything that another one has seen."""
        self.fired = self.fired + other.fired
        self._rows_by_l0 = self._rows_by_l0 + other._rows_by_l0
        self._l1 += other._l1

    def result(self) -> CodeStatistics | Refusal:
        """Statistics over everything seen, or a Refusal (`no_rows`)."""
        n = int(self._rows_by_l0.sum())
        if n == 0:
            return Refusal("no_rows", "no codes were counted")
        density = self.fired / n
        seen = np.cumsum(self._rows_by_l0)
        return CodeStatistics(
            n=n,
            l0=int(self.fired.sum()) / n,
            l0_median=int(np.searchsorted(seen, 0.5 * n)),
            l0_95=int(np.searchsorted(seen, 0.95 * n)),
            l1=self._l1 / n,
            density=density,
            histogram=density_histogram(density),
            dead=int((self.fired == 0).sum()),
            dead_below=3 / n,
            dense=int((density > DENSE).sum()),
        )


def density_histogram(density: Float[np.ndarray, " feature"]) -> Int[np.ndarray, " 70"]:
    """Live features in 70 equal bins of log10 density from 1e-7 to 1; rarer ones fall into the first. Dead: in none."""
    exponents = np.clip(np.log10(density[density > 0]), -7, 0)
    return np.histogram(exponents, bins=_BIN_EDGES)[0]


def recovered(clean: float, spliced: float, ablated: float) -> float | Refusal:
    """(ablated − spliced)/(ablated − clean), losses in nats per token: 1 costs nothing, 0 as much as the ablation.

    Not cut: below 0 the splice hurts more than the ablation. Refusal (`ablation_gap`) where ablated − clean < .05.
    """
    clean, spliced, ablated = (float(x) for x in finite([clean, spliced, ablated], "losses"))
    if ablated - clean < MIN_GAP:
        return Refusal(
            "ablation_gap",
            "the ablation costs too little for a share of it to mean anything",
            expected=f"≥ {MIN_GAP} nats per token",
            got=f"{ablated - clean:.4g}",
        )
    return (ablated - spliced) / (ablated - clean)


def _dots(a: Float64[np.ndarray, "row width"], b: Float64[np.ndarray, "row width"]) -> Float64[np.ndarray, " row"]:
    return np.einsum("rw,rw->r", a, b)
