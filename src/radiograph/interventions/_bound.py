"""Writes bound to a model: which columns of which site, and how hard in raw numbers.

1. a range of sites becomes one write at each; a head becomes its columns
2. a dose becomes raw: `3sd` is μ + 3σ for `set` and `cap`, 3σ for `add`; `q0.99` the natural quantile; `0.5norm` that
   share of the site's mean L2 norm; along a direction d all of them are those of y = a·d
3. every dose is also told as the others would tell it: raw, sd, quantile, share of the norm
Source of μ, σ, quantiles and norm: site statistics, which the caller measured on natural text.
Refuses: a unit or block outside the model, an unknown, zero or non-finite direction, a dead unit where σ is needed,
two sets of one coordinate at one position.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from radiograph.core import Site, UserError, expand, nearest
from radiograph.core.shapes import Float64
from radiograph.evidence import Condition, Dose, Op, Positions, Write
from radiograph.models import LanguageModel

_STEPS = 40


@runtime_checkable
class SiteStatistics(Protocol):
    """What is natural at a site, over text without the first position of each: moments, quantiles, firing."""

    @property
    def site(self) -> str: ...
    @property
    def width(self) -> int: ...
    @property
    def n(self) -> int: ...
    @property
    def mean(self) -> Float64[np.ndarray, " width"]: ...
    @property
    def sd(self) -> Float64[np.ndarray, " width"]: ...
    @property
    def norm(self) -> float:
        """Mean L2 norm of the rows."""
        ...

    def quantile(self, unit: int, q: float) -> float:
        """The natural quantile of one unit."""
        ...

    @property
    def sha256(self) -> str: ...

    def along(self, direction: Float64[np.ndarray, " width"]) -> SiteStatistics:
        """Statistics of width 1 of the projection on a unit vector."""
        ...


Statistics = Mapping[str, SiteStatistics]
Directions = Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Told:
    """One dose, told in every way that the statistics allow."""

    value: float | None = None
    unit: str | None = None
    raw: float | None = None
    sd: float | None = None
    quantile: float | None = None
    norm: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class BoundWrite:
    """One write at one site, in raw numbers."""

    write: Write
    site: Site
    start: int
    stop: int
    op: Op
    positions: Positions
    value: Float64[np.ndarray, " value"]
    """One number a column; along a direction or subspace one a basis row. Empty where the op needs none."""
    low: Float64[np.ndarray, " value"] | None = None
    basis: Float64[np.ndarray, "row column"] | None = None
    """Orthonormal rows; None where columns are written one by one."""
    source: tuple[Site, int, float] | None = None
    """Unit whose value is read live, and ‖w_n‖."""
    told: Told = Told()

    def raw(self) -> dict[str, Any]:
        """What decides the result, for hashes."""
        basis = None if self.basis is None else hashlib.sha256(self.basis.astype("<f8").tobytes()).hexdigest()
        return {
            "site": str(self.site),
            "columns": [self.start, self.stop],
            "op": self.op,
            "value": self.value.tolist(),
            "low": None if self.low is None or not np.isfinite(self.low).all() else self.low.tolist(),
            "basis": basis,
            "source": None if self.source is None else [str(self.source[0]), *self.source[1:]],
            "positions": str(self.positions),
        }


@dataclass(frozen=True, slots=True, eq=False)
class BoundCondition:
    """A condition whose writes are bound, in order."""

    condition: Condition
    writes: tuple[BoundWrite, ...] = ()

    @property
    def name(self) -> str:
        """`none`, or the writes."""
        return self.condition.name

    def twice(self, n_layers: int) -> bool:
        """Whether a write is forgotten at the next step while keys and values would remember it."""
        last = Site("attn_z", n_layers - 1).depth
        return any(w.positions.kind == "last" and w.site.depth < last for w in self.writes)


def bind(
    model: LanguageModel,
    conditions: Sequence[Condition],
    *,
    statistics: Statistics | None = None,
    directions: Directions | None = None,
) -> list[BoundCondition]:
    """Every condition in the model's own numbers.

    Raises:
        UserError: what is outside the model or has no meaning there, with the legal range or the nearest names.
    """
    binder = _Binder(model, statistics or {}, directions or {})
    bound = [BoundCondition(c, tuple(b for w in c.writes for b in binder.bind(w))) for c in conditions]
    for condition in bound:
        _refuse_double(condition)
    return bound


@dataclass(frozen=True, slots=True)
class _Binder:
    model: LanguageModel
    statistics: Statistics
    directions: Directions

    def bind(self, write: Write) -> list[BoundWrite]:
        return [self._one(write, site) for site in expand(write.site, self.model.n_layers)]

    def _one(self, write: Write, address: Site) -> BoundWrite:
        self.model.architecture.point(address)
        site, start, stop = self._columns(write, address)
        own = write.model_copy(update={"site": str(address)})
        if write.direction is None:
            return self._units(own, site, start, stop)
        return self._along(own, site, start, stop, self._basis(write.direction, stop - start, own))

    def _columns(self, write: Write, address: Site) -> tuple[Site, int, int]:
        """The site as a whole, and the columns that are meant."""
        site, first, width = address, 0, self.model.site_width(address)
        if address.head is not None:
            site, first = Site(address.kind, address.layer), address.head * width
        low, high = write.units or ((0, width) if write.unit is None else (write.unit, write.unit + 1))
        if high > width:
            raise UserError(
                f"unit {high - 1} is outside {address}", expected=f"0 to {width - 1}", where=str(write), code="bad_unit"
            )
        return site, first + low, first + high

    def _units(self, write: Write, site: Site, start: int, stop: int) -> BoundWrite:
        columns = range(start, stop)
        found: SiteStatistics | None = self.statistics.get(str(site))
        dose, low = write.dose, None
        if write.op == "ablate":
            value, op = np.zeros(len(columns)), "set"
        elif write.op == "ablate-mean":
            value, op = self._require(site, write).mean[start:stop].astype(float), "set"
        else:
            assert dose is not None, "the grammar asks for it"
            value = np.array([self._raw(dose.value, dose, write, site, unit) for unit in columns])
            op = write.op
            if op == "cap":
                lower = np.full(len(columns), -np.inf)
                if dose.low is not None:
                    lower = np.array([self._raw(dose.low, dose, write, site, unit) for unit in columns])
                low = lower
        told = Told() if dose is None else Told(dose.value, dose.unit)
        if len(columns) == 1 and op != "cap":
            told = _told(dose, op, float(value[0]), found, start)
        return BoundWrite(write, site, start, stop, op, write.positions, value, low, told=told)

    def _along(self, write: Write, site: Site, start: int, stop: int, basis: np.ndarray) -> BoundWrite:
        many, dose, op = len(basis) > 1, write.dose, write.op
        if many and op in ("set", "add"):
            raise UserError(
                f"{op} needs one direction, not a subspace of {len(basis)}", where=str(write), code="bad_write"
            )
        low, source, value = None, None, np.zeros(0)
        told = Told() if dose is None else Told(dose.value, dose.unit)
        if op in ("ablate", "project-out"):
            value, op = np.zeros(len(basis)), "set"
        elif op == "ablate-mean":
            value, op = basis @ self._require(site, write).mean[start:stop], "set"
        elif dose is not None and dose.unit == "follow":
            value, source = np.array([dose.value]), self._source(dose, site, write)
        elif dose is not None:
            projected = None
            if not many and str(site) in self.statistics:
                projected = self._projected(site, start, stop, basis[0])
            value = np.array([self._raw(dose.value, dose, write, site, 0, projected)])
            if op == "cap":
                if many and (dose.low not in (None, 0.0) or dose.unit != "raw"):
                    raise UserError(
                        "a subspace is capped by its norm", expected="..hi", where=str(write), code="bad_write"
                    )
                lower = -np.inf if dose.low is None else self._raw(dose.low, dose, write, site, 0, projected)
                low = np.array([lower])
            elif not many:
                told = _told(dose, op, float(value[0]), projected, 0, self._norm(site))
        return BoundWrite(write, site, start, stop, op, write.positions, value, low, basis, source, told)

    def _basis(self, name: str, width: int, write: Write) -> np.ndarray:
        """Orthonormal rows of a named direction or subspace."""
        if name not in self.directions:
            close = nearest(name, list(self.directions))
            fix = f"did you mean {', '.join(close)}?" if close else "give the file that holds it with --directions"
            known = ", ".join(self.directions) or "none is loaded"
            raise UserError(
                f"unknown direction {name!r}", expected=known, where=str(write), fix=fix, code="bad_direction"
            )
        rows = np.atleast_2d(np.asarray(self.directions[name], dtype=float))
        if rows.shape[1] != width:
            raise UserError(
                f"direction {name} does not fit {write.target}", expected=f"width {width}", got=f"width {rows.shape[1]}"
            )
        if not np.isfinite(rows).all() or not (lengths := np.linalg.norm(rows, axis=1)).all():
            raise UserError(
                f"direction {name} has a row that is zero or not finite", where=str(write), code="bad_direction"
            )
        if len(rows) == 1:
            return rows / lengths[:, None]
        basis, triangle = np.linalg.qr((rows / lengths[:, None]).T)
        if np.abs(np.diag(triangle)).min() < 1e-6:
            raise UserError(f"the rows of {name} are not independent", where=str(write), code="bad_direction")
        return basis.T

    def _projected(self, site: Site, start: int, stop: int, direction: np.ndarray) -> SiteStatistics:
        whole = np.zeros(self.model.site_width(site))
        whole[start:stop] = direction
        return self.statistics[str(site)].along(whole)

    def _norm(self, site: Site) -> float | None:
        return self.statistics[str(site)].norm if str(site) in self.statistics else None

    def _raw(
        self, value: float, dose: Dose, write: Write, site: Site, unit: int, projected: SiteStatistics | None = None
    ) -> float:
        if dose.unit == "raw":
            return value
        found = self._require(site, write) if projected is None else projected
        if dose.unit == "norm":
            return value * self._require(site, write).norm
        if dose.unit == "quantile":
            return float(found.quantile(unit, value))
        sd = float(found.sd[unit])
        if not sd > 0:
            name = f"{site}[{unit}]" if projected is None else write.target
            raise UserError(
                f"{name} never moves on natural text: it has no standard deviation to count in",
                where=str(write),
                fix="give the dose in raw numbers",
                code="dead_unit",
            )
        return value * sd + (0.0 if write.op == "add" else float(found.mean[unit]))

    def _require(self, site: Site, write: Write) -> SiteStatistics:
        if str(site) not in self.statistics:
            raise UserError(
                f"the dose of {write} counts in what is natural at {site}, which was not measured",
                expected="site statistics",
                fix="measure them (`neurons scan`), or give the dose in raw numbers",
                code="no_statistics",
            )
        return self.statistics[str(site)]

    def _source(self, dose: Dose, site: Site, write: Write) -> tuple[Site, int, float]:
        """The unit that is followed, and the length of what it writes."""
        assert dose.source is not None, "the grammar reads it"
        address, _, unit = dose.source.rstrip("]").partition("[")
        source, number = Site.parse(address), int(unit)
        key = f"down.{source.layer}"
        if source.kind != "mlp_hidden" or source.depth >= site.depth or key not in self.model.weights:
            raise UserError(
                f"{site} cannot follow {dose.source}", expected="a unit of mlp_hidden before it", where=str(write)
            )
        self.model.architecture.point(source)
        if number >= (width := self.model.site_width(source)):
            raise UserError(f"unit {number} is outside {source}", expected=f"0 to {width - 1}", where=str(write))
        place = self.model.weights[key]
        matrix = place.read(self.model.parameters()[place.parameter].detach())
        return source, number, float(matrix[:, number].double().norm())


def _told(
    dose: Dose | None, op: str, raw: float, found: SiteStatistics | None, unit: int, norm: float | None = None
) -> Told:
    sd = quantile = None
    if found is not None and op in ("set", "add"):
        spread = float(found.sd[unit])
        sd = (raw - (float(found.mean[unit]) if op == "set" else 0.0)) / spread if spread > 0 else None
        quantile = _rank(found, unit, raw) if op == "set" else None
        norm = found.norm if norm is None else norm
    share = abs(raw) / norm if norm and op == "add" else None
    value, name = (None, None) if dose is None else (dose.value, dose.unit)
    return Told(value, name, raw, sd, quantile, share)


def _rank(found: SiteStatistics, unit: int, value: float) -> float:
    """The share of natural values at or below a value, by halving."""
    if value < found.quantile(unit, 0.0):
        return 0.0
    if value >= found.quantile(unit, 1.0):
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if found.quantile(unit, middle) <= value:
            low = middle
        else:
            high = middle
    return low


def _refuse_double(condition: BoundCondition) -> None:
    """Two sets of one coordinate at one position have no answer, unless both say 0."""
    sets = [w for w in condition.writes if w.op == "set"]
    for number, second in enumerate(sets):
        for first in sets[:number]:
            apart = first.stop <= second.start or second.stop <= first.start
            same = first.site == second.site and first.write.direction == second.write.direction
            zeros = not (first.value.any() or second.value.any())
            if same and not apart and not zeros and _meet(first.positions, second.positions):
                raise UserError(
                    f"two writes set {first.site} at the same place",
                    got=f"{first.write} and {second.write}",
                    fix="leave one of them out",
                    code="two_sets",
                )


def _meet(first: Positions, second: Positions) -> bool:
    kinds = {first.kind, second.kind}
    late = all(p.kind != "from" or (p.k or 0) > 0 for p in (first, second))
    return not ("prompt" in kinds and (kinds & {"generated"} or (kinds & {"from"} and late)))
