"""One basis, one transform, one set of grouped rows: coordinates, statistics, nulls.

1. transform rows and vectors; drop rows of length zero; pairs below the least sine are listed
2. a basis of term means that was fitted on these very rows is rebuilt in its folds, and in every relabelling
3. else rows are scored with the fold that left their core out, where the basis has one
4. r_G: null by the kind of basis. Rows scored with a vector that they helped to make: circular, and no p
5. pseudo-F between groups, unless the labels decided the basis; A₄, largest cones and angles under rotations of the
   set, for bases without rows; the share of the mean row inside the span of all vectors
6. above what memory holds, planes are streamed: p is the analytic one, statistics are kept in float32
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.core import Refusal, UserError, derive
from radiograph.evidence.resonance import Filter, NullName, TransformName
from radiograph.methods.resonance._planes import _nulls, _sources
from radiograph.methods.resonance._planes._groups import Grouped, filterable, grouped, without

if TYPE_CHECKING:
    from radiograph.evidence.resonance import Triangulation
    from radiograph.numerics.planes import Intervals, LabelBasis, Planes, PlaneStatistics, ProbeBasis, Tested, Transform
    from radiograph.store.planes import StoredBasis

_REBUILT, _REFITTED = 4000, 1000
"""Rows above which means are not rebuilt, nor probes refitted: the products of all rows no longer fit."""
_REBUILD_WORK = 2 * 10**11
"""Products of relabellings that rebuild the basis, beyond the first draws: about a minute."""
_ROTATED = 2 * 10**7
"""Rows × width × vectors above which the set is not turned at random."""


@dataclass(frozen=True)
class Asked:
    """The options of a measurement."""

    epsilons: tuple[float, ...] = (0.1,)
    signed: bool = False
    pairs: str = "comb"
    pair_names: tuple[tuple[str, str], ...] = ()
    max_planes: int = 0
    min_sine: float = 0.05
    null: NullName | None = None
    fold: str = "core"
    permutations: int = 9999
    limit: int = 1_000_000
    seed: int = 0
    memory: int = 1 << 30
    natural: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    """μ, σ and firing rate of the site, to match units on; by default those of the rows."""


@dataclass(eq=False)
class Measured:
    """Everything about one basis in one transform."""

    name: str
    transform: TransformName
    rows: Grouped
    vectors: np.ndarray
    """Transformed, of length one."""
    labels: tuple[str, ...]
    planes: Planes
    dropped: list[tuple[str, float]]
    circular: bool
    null: NullName
    own: bool = False
    """Whether some row helped to make the vectors."""
    written: tuple[int, ...] = ()
    natural: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None
    statistics: dict[str, PlaneStatistics] = field(default_factory=dict)
    suprema: dict[str, dict[float, np.ndarray]] = field(default_factory=dict)
    signed: dict[str, dict[float, np.ndarray]] = field(default_factory=dict)
    z: np.ndarray | None = None
    tested: dict[str, Tested] = field(default_factory=dict)
    haar: dict[str, np.ndarray] = field(default_factory=dict)
    intervals: dict[str, Intervals | None] = field(default_factory=dict)
    pseudo_f: Tested | None = None
    fourfold: Tested | None = None
    cones: dict[float, Tested] = field(default_factory=dict)
    angles: dict[str, dict[str, Tested]] = field(default_factory=dict)
    """Group and statistic, where the basis was turned."""
    span: Triangulation | None = None
    flags: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def mark(self, why: str) -> None:
        """No p: rows are scored with vectors that they helped to make."""
        self.circular = True
        self.notes.append(why)
        self.flags += ["circular"] if "circular" not in self.flags else []

    def label(self, place: int) -> str:
        """What a plane is called: made when it is asked for, since there may be a million."""
        one, two = (self.labels[int(index[place])] for index in (self.planes.first, self.planes.second))
        return f"{one} × {two}"


def measure(
    rows: Grouped, stored: StoredBasis, name: str, transform: Transform, asked: Asked, written: Sequence[int] = ()
) -> Measured:
    """Coordinates, statistics and p-values.

    Raises:
        UserError: the basis does not fit the rows. Refusal: no pair of vectors has a plane.
    """
    from radiograph.numerics.planes import unit_rows

    fits(rows, stored, transform)
    values = without(transform.apply(rows.rows.values.astype(np.float64)), written)
    unit, live = unit_rows(values)
    notes = [f"{int((~live).sum())} rows of length zero are left out"] if not live.all() else []
    if not live.any():
        raise Refusal("no_rows", "every row has length zero", got=f"{len(values)} rows")
    if not live.all():
        rows, values = grouped(rows.rows.chosen(live), rows.by), values[live]
    made = _paired(rows, stored, name, transform, asked, written)
    made.notes += notes
    made.flags += ["intervened basis"] if stored.record.intervened else []
    made.flags += _confounded(rows, stored)
    source = None if made.circular else _rebuilding(made, stored, values, transform, asked)
    if source is not None:
        made.z = source.coordinates()
    else:
        _score(made, stored, unit, transform, asked, written)
    _statistics(made, unit, asked)
    _test(made, stored, source, unit, transform, asked)
    made.span = _nulls.span(made, stored, unit, transform, asked.seed)
    return made


def _confounded(rows: Grouped, stored: StoredBasis) -> list[str]:
    """A flag for each factor, tested or decisive for the basis, whose levels differ in something else."""
    held = rows.rows.confounded
    contrasted = set(rows.by) | _nulls.decided_by(stored)
    found = [f"{factor}~{other.rpartition('~')[2]}" for factor in sorted(contrasted) for other in held.get(factor, ())]
    return [f"confounded: {' '.join(found)}"] if found else []


def fits(rows: Grouped, stored: StoredBasis, transform: Transform) -> None:
    """Whether a basis may be used with these rows.

    Raises:
        UserError: another width, site, model or space; both values are named.
    """
    record, held = stored.record, rows.rows
    for what, ours, theirs in (
        ("width", record.width, held.values.shape[1]),
        ("site", record.site, held.site),
        ("model", record.model, held.model),
    ):
        # What a file does not say cannot differ.
        if ours is not None and theirs is not None and ours != theirs:
            raise UserError(
                f"the basis is one of another {what}",
                expected=f"{theirs}, that of the vectors",
                got=f"{ours}, from basis.json",
                fix="make the basis from vectors of this kind",
                code="another_basis",
            )
    if record.transform not in ("raw", transform.kind):
        raise UserError(
            "the basis lives in another space", expected=transform.kind, got=record.transform, code="another_basis"
        )


def unit_vectors(stored: StoredBasis, transform: Transform, written: Sequence[int] = ()) -> np.ndarray:
    """The basis in a transform, without written coordinates, each vector of length one.

    Raises:
        UserError: nothing is left of a vector.
    """
    from radiograph.numerics.planes import unit_rows

    unit, live = unit_rows(without(transform.apply(stored.vectors, stored.record.role), written))
    if not live.all():
        lost = [label for label, own in zip(stored.record.labels, live, strict=True) if not own]
        raise UserError(
            "nothing is left of a vector of the basis",
            expected="vectors that reach beyond what a condition writes",
            got=", ".join(lost[:3]),
            fix="use another basis, or say --written keep and read what moves there as a tautology",
            code="written_away",
        )
    return unit


def _paired(
    rows: Grouped, stored: StoredBasis, name: str, transform: Transform, asked: Asked, written: Sequence[int]
) -> Measured:
    from radiograph.numerics.planes import planes_of

    record, unit = stored.record, unit_vectors(stored, transform, written)
    first, second = pairs_of(stored, asked)
    gram = unit @ unit.T
    planes, kept = planes_of(gram, first, second, asked.min_sine)
    dropped = [
        (f"{record.labels[first[i]]} × {record.labels[second[i]]}", float(gram[first[i], second[i]]))
        for i in np.flatnonzero(~kept)
    ]
    if not len(planes):
        raise Refusal(
            "collinear_basis",
            "no two vectors of the basis span a plane",
            expected=f"a sine of at least {asked.min_sine}",
            got=", ".join(f"{n}: cosine {c:.4f}" for n, c in dropped[:3]) or "fewer than two vectors",
            fix="use other vectors, or lower --min-sine",
        )
    mine = _sources.shared(rows.rows, record)
    made = Measured(name, transform.kind, rows, unit, record.labels, planes, dropped, False, asked.null or record.null)
    made.written, made.natural, made.own = tuple(written), asked.natural, bool(mine.any())
    if made.own and not (_folded(stored, asked) and _sources.left_out(rows, record, mine)):
        made.mark("rows made these vectors, and no fold leaves them out: make the basis with folds, say --fold core")
    return made


def _folded(stored: StoredBasis, asked: Asked) -> bool:
    return asked.fold == "core" and stored.folds is not None and bool(stored.record.folds)


def pairs_of(stored: StoredBasis, asked: Asked) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of vectors that are asked for, at most `max_planes` of them.

    Raises:
        UserError: a plane of labels that the basis lacks.
    """
    from radiograph.numerics.planes import all_pairs

    record = stored.record
    if asked.pair_names:
        places = {label: i for i, label in enumerate(record.labels)}
        unknown = [label for pair in asked.pair_names for label in pair if label not in places]
        if unknown:
            known = ", ".join(record.labels[:12])
            raise UserError("a plane of vectors that the basis lacks", expected=known, got=", ".join(unknown[:3]))
        first, second = (np.array([places[pair[i]] for pair in asked.pair_names], dtype=np.int32) for i in (0, 1))
    elif record.planes:
        first, second = (np.array([pair[i] for pair in record.planes], dtype=np.int32) for i in (0, 1))
    else:
        first, second = all_pairs(len(record.labels), ordered=asked.pairs == "perm")
    if asked.max_planes and len(first) > asked.max_planes:
        drawn = np.random.default_rng(derive(asked.seed, "planes")).permutation(len(first))[: asked.max_planes]
        first, second = first[np.sort(drawn)], second[np.sort(drawn)]
    return first, second


def _rebuilding(
    made: Measured, stored: StoredBasis, values: np.ndarray, transform: Transform, asked: Asked
) -> LabelBasis | ProbeBasis | None:
    """The basis as a source, where these are the rows that it was fitted on."""
    from radiograph.numerics.planes import LabelBasis, ProbeBasis, Terms

    record, rows = stored.record, made.rows
    if not (record.built_from_labels and _folded(stored, asked) and _sources.equal(rows.rows, record)):
        return None
    # A normal that is refitted after whitening is not the whitened normal.
    if len(values) > _REBUILT or (record.fit == "ridge" and (len(values) > _REFITTED or made.transform == "whitened")):
        return None
    columns = filterable(rows.rows)
    masks = np.array([Filter.parse(term).mask(columns) for term in record.terms])
    profiles = [(tuple(mask), name) for mask, name in zip(masks.T.tolist(), rows.names, strict=True)]
    known = list(dict.fromkeys(profiles))
    # A core keeps its rows, whatever is tested: folds and weights are those of the data.
    labels = rows.relabelled(profiles, (_nulls.decided_by(stored) | set(rows.by)) - {"core"})
    members = np.array([profile for profile, _ in known], dtype=bool).T
    sets = np.array([[name == group for _, name in known] for group in rows.groups], dtype=bool)
    pairs = made.planes.first.astype(np.int64), made.planes.second.astype(np.int64)
    if record.fit == "ridge":
        return ProbeBasis.of(values, labels, rows.cores, members, pairs, sets)
    places = [record.folds.index(core) for core in dict.fromkeys(map(str, rows.cores))]
    assert stored.folds is not None, "asked above"
    beyond = stored.folds[places, len(record.weights) :]
    fixed = np.stack([without(transform.apply(own, record.role), made.written) for own in beyond])
    terms = Terms(members, np.array(record.weights))
    return LabelBasis.of(values, labels, rows.cores, terms, pairs, "core", sets, fixed)


def _score(
    made: Measured, stored: StoredBasis, unit: np.ndarray, transform: Transform, asked: Asked, written: Sequence[int]
) -> None:
    """Z with fixed vectors, or with those of the fold that left a row's core out."""
    from radiograph.numerics.planes import coordinates, planes_of, unit_rows

    record, folds = stored.record, stored.folds if _folded(stored, asked) else None
    if 40 * len(unit) * len(made.planes) > asked.memory:
        # Streamed planes know one basis for all rows.
        if made.own:
            made.mark("planes are streamed, and not fold by fold: raise --memory, or say --max-planes")
        return
    made.z = coordinates(unit @ made.vectors.T, made.planes)
    if folds is None:
        return
    z, cores = made.z.copy(), np.array([str(core) for core in made.rows.cores])
    for fold, core in enumerate(record.folds):
        mine = cores == core
        if mine.any():
            vectors = unit_rows(without(transform.apply(folds[fold], record.role), written))[0]
            planes, _ = planes_of(vectors @ vectors.T, made.planes.first, made.planes.second, 1e-6)
            if len(planes) < len(made.planes):
                if made.own:
                    made.mark(f"without core {core} some plane is a line: rows would be scored with their own vectors")
                return
            z[:, :, mine] = coordinates(unit[mine] @ vectors.T, planes)
    made.z = z


def _statistics(made: Measured, unit: np.ndarray, asked: Asked) -> None:
    from radiograph.numerics.planes import core_intervals, sample_path, statistics, supremum

    width = unit.shape[1]
    names = np.array(made.rows.names)
    for group in made.rows.groups:
        mine = names == group
        if made.z is not None:
            z = made.z[:, :, mine]
            made.statistics[group] = statistics(z, width)
            made.suprema[group] = {e: supremum(z, e)[0] for e in asked.epsilons}
            if asked.signed:
                made.signed[group] = {e: supremum(z, e, signed=True)[0] for e in asked.epsilons}
            cores = [core for core, own in zip(made.rows.cores, mine, strict=True) if own]
            made.intervals[group] = core_intervals(z, cores, seed=derive(asked.seed, "intervals"))
            continue
        blocks = list(
            sample_path(
                (made.vectors @ unit[mine].T).T,
                made.planes,
                width=width,
                epsilons=asked.epsilons,
                signed=asked.signed,
                memory=asked.memory,
            )
        )
        made.statistics[group] = _joined([block.statistics for block in blocks])
        made.suprema[group] = {
            e: np.concatenate([b.suprema[e].astype(np.float32) for b in blocks]) for e in asked.epsilons
        }
        if asked.signed:
            made.signed[group] = {
                e: np.concatenate([b.signed[e].astype(np.float32) for b in blocks]) for e in asked.epsilons
            }
    if made.z is None:
        made.notes.append(f"{len(made.planes)} planes are streamed: p is the analytic one, without intervals")
    elif any(found is None for found in made.intervals.values()):
        made.notes.append("interval not available: fewer than four cores in a group")


def _joined(parts: Sequence[PlaneStatistics]) -> PlaneStatistics:
    from radiograph.numerics.planes import PlaneStatistics

    arrays: dict[str, Any] = {"n": parts[0].n}
    for name in ("grey", "mean_r", "energy", "lift", "concentration", "axial", "fourfold"):
        arrays[name] = np.concatenate([getattr(part, name).astype(np.float32) for part in parts], axis=-1)
    return PlaneStatistics(**arrays)


def _test(
    made: Measured,
    stored: StoredBasis,
    source: LabelBasis | ProbeBasis | None,
    unit: np.ndarray,
    transform: Transform,
    asked: Asked,
) -> None:
    from radiograph.numerics.planes import Isotropy, against_null

    names = np.array(made.rows.names)
    law = Isotropy(unit.shape[1])
    for group in made.rows.groups:
        if not made.circular:
            length = float(np.linalg.norm(unit[names == group].mean(axis=0)))
            made.haar[group] = law.plane_p(made.statistics[group].r, length)
    if made.circular or made.z is None:
        return
    options: dict[str, Any] = {"draws": asked.permutations, "limit": asked.limit}
    if source is not None:
        options["limit"] = min(asked.limit, max(asked.permutations, _REBUILD_WORK // source.work))
    if source is not None and made.null == "labels":
        tested = against_null(source.observed(), source, seed=derive(asked.seed, "labels"), **options)
        _nulls.coarse(made, tested)
        for place, group in enumerate(made.rows.groups):
            made.tested[group] = _nulls.part(tested, slice(place, None, len(made.rows.groups)))
    else:
        _nulls.lengths(made, stored, unit, transform, asked.seed, options)
    _nulls.between(made, stored, asked.seed, options)
    if len(made.vectors) * unit.size <= _ROTATED:
        _nulls.axes(made, stored, unit, asked.epsilons, asked.seed, min(asked.permutations, 999))
