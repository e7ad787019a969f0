"""One basis, one transform, one set of grouped rows: coordinates, statistics, nulls.

1. transform rows and vectors; drop rows of length zero; pairs below the least sine are listed
2. a basis of term means that was fitted on these very rows is rebuilt in its folds, and in every relabelling
3. else rows are scored with the fold that left their core out, where the basis has folds and the rows made it
4. r_G: null by the kind of basis. Rows that helped to make a vector that cannot be rebuilt: circular, and no p
5. pseudo-F between groups, unless the labels decided the basis; A₄ under rotations of the set, for bases without rows
6. above what memory holds, planes are streamed and p is the analytic one
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from radiograph.core import Refusal, UserError, derive
from radiograph.evidence.resonance import Filter, NullName, TransformName
from radiograph.methods.resonance._planes import _nulls
from radiograph.methods.resonance._planes._groups import Grouped, filterable, grouped, without

if TYPE_CHECKING:
    from radiograph.numerics.planes import Intervals, LabelBasis, Planes, PlaneStatistics, Tested, Transform
    from radiograph.store.planes import StoredBasis

_REBUILT = 4000
"""Rows above which a basis is not rebuilt: the products of all rows no longer fit."""
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
    axes: bool = True


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
    names: list[str]
    dropped: list[tuple[str, float]]
    circular: bool
    null: NullName
    statistics: dict[str, PlaneStatistics] = field(default_factory=dict)
    suprema: dict[str, dict[float, np.ndarray]] = field(default_factory=dict)
    signed: dict[str, dict[float, np.ndarray]] = field(default_factory=dict)
    z: np.ndarray | None = None
    tested: dict[str, Tested] = field(default_factory=dict)
    haar: dict[str, np.ndarray] = field(default_factory=dict)
    intervals: dict[str, Intervals | None] = field(default_factory=dict)
    pseudo_f: Tested | None = None
    fourfold: Tested | None = None
    flags: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def named_bases(stored: Sequence[StoredBasis]) -> dict[str, StoredBasis]:
    """Bases by their kind, numbered where a kind comes twice."""
    kinds = [basis.record.kind for basis in stored]
    names = [f"{kind} {kinds[: i + 1].count(kind)}" if kinds.count(kind) > 1 else kind for i, kind in enumerate(kinds)]
    return dict(zip(names, stored, strict=True))


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
    made = _paired(rows, stored, name, transform, asked, unit_vectors(stored, transform, written))
    made.notes += notes
    made.flags += ["intervened basis"] if stored.record.intervened else []
    source = None if made.circular else _rebuilding(made, stored, values, asked)
    if source is not None:
        made.z = source.coordinates()
    else:
        _score(made, stored, unit, transform, asked, written)
    _statistics(made, unit, asked)
    _test(made, stored, source, unit, transform, asked)
    return made


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
    rows: Grouped, stored: StoredBasis, name: str, transform: Transform, asked: Asked, unit: np.ndarray
) -> Measured:
    from radiograph.numerics.planes import planes_of

    record = stored.record
    first, second = pairs_of(stored, asked)
    gram = unit @ unit.T
    planes, kept = planes_of(gram, first, second, asked.min_sine)
    named = [f"{record.labels[a]} × {record.labels[b]}" for a, b in zip(first, second, strict=True)]
    dropped = [(named[i], float(gram[first[i], second[i]])) for i in np.flatnonzero(~kept)]
    if not len(planes):
        raise Refusal(
            "collinear_basis",
            "no two vectors of the basis span a plane",
            expected=f"a sine of at least {asked.min_sine}",
            got=", ".join(f"{n}: cosine {c:.4f}" for n, c in dropped[:3]) or "fewer than two vectors",
            fix="use other vectors, or lower --min-sine",
        )
    same = record.source_sha256 is not None and record.source_sha256 == rows.rows.sha256
    overlap = same and not set(record.rows).isdisjoint(rows.rows.keys)
    folded = asked.fold == "core" and bool(record.folds)
    circular = overlap and not (folded and record.built_from_labels)
    null = asked.null or record.null
    names = [named[i] for i in np.flatnonzero(kept)]
    made = Measured(name, transform.kind, rows, unit, record.labels, planes, names, dropped, circular, null)
    made.flags += ["circular"] if circular else []
    return made


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


def _rebuilding(made: Measured, stored: StoredBasis, values: np.ndarray, asked: Asked) -> LabelBasis | None:
    """The basis as a source, where these are the rows that it was fitted on."""
    from radiograph.numerics.planes import LabelBasis, Labels, Terms

    record, rows = stored.record, made.rows
    same = record.source_sha256 == rows.rows.sha256 and set(record.rows) == set(rows.rows.keys)
    if not (record.built_from_labels and record.folds and same and asked.fold == "core") or len(values) > _REBUILT:
        return None
    columns = filterable(rows.rows)
    masks = np.array([Filter.parse(term).mask(columns) for term in record.terms])
    profiles = [(tuple(mask), name) for mask, name in zip(masks.T.tolist(), rows.names, strict=True)]
    known = list(dict.fromkeys(profiles))
    labels = Labels(profiles, rows.cores)
    members = np.array([profile for profile, _ in known], dtype=bool).T
    sets = np.array([[name == group for _, name in known] for group in rows.groups], dtype=bool)
    pairs = made.planes.first.astype(np.int64), made.planes.second.astype(np.int64)
    return LabelBasis.of(values, labels, rows.cores, Terms(members, np.array(record.weights)), pairs, "core", sets)


def _score(
    made: Measured, stored: StoredBasis, unit: np.ndarray, transform: Transform, asked: Asked, written: Sequence[int]
) -> None:
    """Z with fixed vectors, or with those of the fold that left a row's core out."""
    from radiograph.numerics.planes import coordinates, planes_of, unit_rows

    record, rows = stored.record, made.rows
    if 40 * len(unit) * len(made.planes) > asked.memory:
        return
    made.z = coordinates(unit @ made.vectors.T, made.planes)
    same = record.source_sha256 is not None and record.source_sha256 == rows.rows.sha256
    if not (record.folds and same and asked.fold == "core") or stored.folds is None:
        return
    cores = [str(core) for core in rows.cores]
    for fold, core in enumerate(record.folds):
        mine = np.array([own == core for own in cores])
        if mine.any():
            vectors = unit_rows(without(transform.apply(stored.folds[fold], record.role), written))[0]
            planes, _ = planes_of(vectors @ vectors.T, made.planes.first, made.planes.second, 1e-6)
            if len(planes) == len(made.planes):
                made.z[:, :, mine] = coordinates(unit[mine] @ vectors.T, planes)


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
        made.suprema[group] = {e: np.concatenate([b.suprema[e] for b in blocks]) for e in asked.epsilons}
        if asked.signed:
            made.signed[group] = {e: np.concatenate([b.signed[e] for b in blocks]) for e in asked.epsilons}
    if made.z is None:
        made.notes.append(f"{len(made.planes)} planes are streamed: p is the analytic one, without intervals")
    elif any(found is None for found in made.intervals.values()):
        made.notes.append("interval not available: fewer than four cores in a group")


def _joined(parts: Sequence[PlaneStatistics]) -> PlaneStatistics:
    from radiograph.numerics.planes import PlaneStatistics

    arrays: dict[str, Any] = {"n": parts[0].n}
    for name in ("grey", "mean_r", "energy", "lift", "concentration", "axial", "fourfold"):
        arrays[name] = np.concatenate([getattr(part, name) for part in parts], axis=-1)
    return PlaneStatistics(**arrays)


def _test(
    made: Measured,
    stored: StoredBasis,
    source: LabelBasis | None,
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
        # A relabelling that rebuilds the basis costs rows² × groups.
        affordable = max(asked.permutations, _REBUILD_WORK // (len(unit) ** 2 * len(source.labels.groups)))
        options["limit"] = min(asked.limit, affordable)
    if source is not None and made.null == "labels":
        tested = against_null(source.observed(), source, seed=derive(asked.seed, "labels"), **options)
        for place, group in enumerate(made.rows.groups):
            made.tested[group] = _nulls.part(tested, slice(place, None, len(made.rows.groups)))
    else:
        _nulls.lengths(made, stored, unit, transform, asked.seed, options)
    _nulls.between(made, stored, asked.seed, options)
    if asked.axes and len(made.vectors) * unit.size <= _ROTATED:
        _nulls.axes(made, stored, unit, asked.seed, min(asked.permutations, 999))
