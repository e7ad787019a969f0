"""What groups of rows do in planes: curves, Grey vectors, cones, and what chance would do.

1. rows of the vectors, in groups; vectors of each basis; both in each transform (raw and centred unless said otherwise:
   raw cosines mostly measure the shared mean)
2. every plane of every basis in closed form: r_G, θ_G, r̄, concentration, energy, lift, shape, exact cone suprema
3. r_G against the null of its kind of basis: labels exchanged within cores with the basis rebuilt, matched units,
   planes of equal covariance, other features, random planes
4. do groups differ: pseudo-F, labels exchanged within core and every other factor. Do rows crowd the axes: A₄, the
   basis set turned at random
5. p = (1 + #)/(1 + K), drawn again with 10 K where it is smallest; q over planes × groups × statistics of the run;
   Westfall and Young beside it; intervals by drawing cores
Source: Bird (2025), arXiv 2505.13471. Units: cosines and degrees; +90° is the side of the second vector.

Correlational, unless rows were written. A basis that its own rows decided is circular and has no p. Finding nothing is
a result. Refuses when: no row is left, no two vectors span a plane, a fold has no rows (exit 4); a basis of another
width, site or model (exit 3).
"""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import Context, FilePath, FolderPath, Refusal, UserError
from radiograph.core.sizes import ByteSize
from radiograph.evidence import RefusalRecord, Result
from radiograph.evidence.resonance import (
    Compass,
    GroupTest,
    NullName,
    PlaneGroup,
    PlaneMap,
    Spread,
    TransformName,
)
from radiograph.methods.resonance._planes import _groups, _measure, _tables

if TYPE_CHECKING:
    from radiograph.methods.resonance._planes._measure import Measured
    from radiograph.store.planes import StoredBasis, VectorRows

_TOP = 20
BIRD: dict[str, Any] = {"transform": ("raw",), "epsilon": (0.9,), "planes": "perm", "angles": 100}
"""The published method: one curve a plane, orders both ways, and rotation towards −b₂."""


class Config(Base):
    """Vectors, bases, and how they are looked at."""

    vectors: FilePath
    """A capture, FILE.safetensors with FILE.csv, or an .npz of the original."""
    basis: tuple[FolderPath, ...] = ()
    """A run of resonance basis; repeatable."""
    group_by: str = ""
    """Factors, comma-separated, or condition; by default those of the first basis."""
    where: str = ""
    """Rows that count, as type=declarative,level>=4."""
    site: str | None = None
    """Site of the vectors; needed where there are several."""
    transform: tuple[TransformName, ...] = ("raw", "centred")
    """raw, centred, whitened; repeatable."""
    statistics: FolderPath | None = None
    """Site statistics to centre and whiten with; by default the rows' own mean and covariance."""
    planes: Literal["comb", "perm"] = "comb"
    """Every pair of vectors once, or in both orders."""
    plane_file: FilePath | None = None
    """Two labels a line, comma-separated: only these planes."""
    max_planes: int = Field(default=0, ge=0)
    """Draw at most so many; 0 takes all."""
    min_sine: float = Field(default=0.05, gt=0, le=1)
    """Pairs nearer to parallel have no plane."""
    epsilon: tuple[float, ...] = (0.1, 0.5)
    """Cones: the least cosine; repeatable."""
    signed: bool = False
    """Also f(θ) − f(θ + 180°)."""
    angles: int = Field(default=72, ge=4, le=3600)
    """Angles of the curves."""
    curves: int = Field(default=12, ge=0, le=200)
    """Planes whose curves are written out."""
    null: NullName | None = None
    """labels, matched, gaussian, pool, haar; by default that of the basis."""
    fold: Literal["core", "none"] = "core"
    """Score a row with the basis that was fitted without its core."""
    permutations: int = Field(default=9999, ge=19, le=1_000_000)
    """Draws of every null."""
    most_permutations: int = Field(default=1_000_000, ge=0)
    """Draws at most, where p is the smallest that fewer allow."""
    fdr: Literal["bh", "by"] = "bh"
    """Benjamini-Hochberg or Benjamini-Yekutieli."""
    family: Literal["planes", "clusters"] = "planes"
    """Correct over all planes, or over one exemplar a cluster."""
    adjust: str | None = None
    """A column of the rows, as n_prompt: what goes with it within a core is taken out, shown beside the rest."""
    written: Literal["drop", "keep"] = "drop"
    """Take coordinates that a condition writes out of rows and planes, or keep them, marked."""
    memory: ByteSize = 1 << 30
    """Bytes for planes held at once."""
    preset: Literal["none", "bird"] = "none"
    """bird: raw, ε .9, both orders, 100 angles with the end point, his sense of rotation."""
    project: bool = False
    """Also the coordinates of rows with r at least the first ε."""
    csv: bool = False
    """Also curves as CSV, one file a group, under the original's names."""


class ResonanceSweep(Result):
    """Planes, groups, and what stands out."""

    SCHEMA: ClassVar[str] = "radiograph.resonance_sweep/1"

    kind: Literal["correlational", "causal"]
    """Causal where some rows were written."""
    site: str | None
    n_rows: int
    left_out: int
    groups: dict[str, int]
    bases: tuple[str, ...]
    nulls: dict[str, str]
    transforms: tuple[TransformName, ...]
    n_planes: int
    n_dropped: int
    family: int
    fdr: Literal["bh", "by"]
    found: int
    """Planes and groups at q < .05."""
    top: tuple[PlaneGroup, ...]
    tests: tuple[GroupTest, ...]
    compass: tuple[Compass, ...]
    spreads: tuple[Spread, ...]
    maps: tuple[PlaneMap, ...]
    triangulation: dict[str, float]
    """Share of the mean row's squared norm inside the span of all planes, by basis and transform."""
    refused: tuple[RefusalRecord, ...]
    notes: tuple[str, ...]

    @property
    def headline(self) -> str:
        """What stands out, of how many."""
        what = f"{self.n_planes} planes, {len(self.groups)} groups, {self.n_rows} rows"
        if not self.family:
            return f"{what}: no p is given"
        return f"{self.found} of {self.family} tests at q < .05 ({what})"

    @property
    def lines(self) -> tuple[str, ...]:
        """What is not said, and why."""
        return (*(f"{r.what}: {r.text}" for r in self.refused), *self.notes)


def run(config: Config, ctx: Context) -> ResonanceSweep:
    """Measure every basis in every transform, then correct over all of it."""
    from radiograph.store.planes import open_basis, open_rows

    config = _preset(config)
    if not config.basis:
        raise UserError("a sweep needs a basis", expected="--basis RUN", fix="make one: resonance basis --kind …")
    bases = _measure.named_bases(
        [open_basis(ctx.path(name, f"basis{place}")) for place, name in enumerate(config.basis)]
    )
    rows = open_rows(ctx.path(config.vectors, "vectors"), config.site)
    rows = _groups.kept(rows, config.where)
    by = config.group_by or ",".join(next(iter(bases.values())).record.by)
    grouped = _groups.grouped(rows, [part.strip() for part in by.split(",") if part.strip()])
    units = _groups.written_units(rows)
    versions = {"": grouped}
    if config.adjust is not None:
        versions[f", without {config.adjust}"] = _groups.adjusted(grouped, config.adjust)
    asked = _asked(config, ctx)
    found: list[Measured] = []
    refused: list[RefusalRecord] = []
    jobs: list[tuple[str, StoredBasis, _groups.Grouped, TransformName]] = [
        (name + version, stored, own, kind)
        for name, stored in bases.items()
        for version, own in versions.items()
        for kind in config.transform
    ]
    with ctx.progress.task("planes", total=len(jobs)) as task:
        for name, stored, own, kind in jobs:
            try:
                transform = _transform(config, ctx, own.rows, kind)
                drop = units if config.written == "drop" else ()
                found.append(_measure.measure(own, stored, name, transform, asked, drop))
            except Refusal as refusal:
                what = f"{name}, {kind}"
                refused.append(RefusalRecord(code=refusal.code, text=refusal.message, what=what, fix=refusal.fix))
                if len(jobs) == len(refused):
                    raise
            task.advance()
    if units and config.written == "keep":
        for made in found:
            made.flags.append("tautological")
    notes = [f"written coordinates {list(units)[:8]} are taken out"] if units and config.written == "drop" else []
    return _result(config, ctx, rows, grouped, bases, found, refused, notes)


def _result(
    config: Config,
    ctx: Context,
    rows: VectorRows,
    grouped: _groups.Grouped,
    bases: dict[str, StoredBasis],
    found: list[Measured],
    refused: list[RefusalRecord],
    notes: list[str],
) -> ResonanceSweep:
    maps = [(made, *_tables.plane_map(made)) for made in found]
    counted = None
    if config.family == "clusters":
        counted = {
            (made.name, made.transform, made.names[i])
            for made, _, exemplars in maps
            for i in (range(len(made.names)) if exemplars is None else exemplars.tolist())
        }
    planes, tests, family = _tables.corrected(
        _tables.plane_rows(found), _tables.group_tests(found), config.fdr, counted
    )
    _write(config, ctx, found, planes, tests)
    significant = [row for row in (*planes, *tests) if row.q is not None and row.q < 0.05]
    ordered = sorted(planes, key=lambda row: (row.q if row.q is not None else 2.0, -row.r))
    angles = np.arange(0, 360, 5.0)
    drawn = [
        _tables.compass(made, place, config.epsilon, angles) for made in found[:4] for place in _tables.chosen(made, 2)
    ]
    notes = [*notes, *(f"{made.name}, {made.transform}: {note}" for made in found for note in made.notes)]
    written = any(condition != "none" for condition in rows.columns["condition"])
    return ResonanceSweep(
        kind="causal" if written else "correlational",
        site=rows.site,
        n_rows=len(rows.values),
        left_out=rows.left_out,
        groups={group: grouped.names.count(group) for group in grouped.groups},
        bases=tuple(bases),
        nulls={f"{made.name}, {made.transform}": "none: circular" if made.circular else made.null for made in found},
        transforms=config.transform,
        n_planes=sum(len(made.names) for made in found),
        n_dropped=sum(len(made.dropped) for made in found),
        family=family,
        fdr=config.fdr,
        found=len(significant),
        top=tuple(ordered[:_TOP]),
        tests=tuple(sorted(tests, key=lambda row: (row.q if row.q is not None else 2.0, -row.value))[:_TOP]),
        compass=tuple(one for one in drawn if one is not None)[:4],
        spreads=tuple(spread for made in found[:4] for spread in _tables.spreads(made)),
        maps=tuple(one for _, one, _ in maps if one is not None)[:2],
        triangulation={f"{made.name}, {made.transform}": _triangulated(made) for made in found},
        refused=tuple(refused),
        notes=tuple(dict.fromkeys(notes)),
    )


def _write(
    config: Config, ctx: Context, found: list[Measured], planes: list[PlaneGroup], tests: list[GroupTest]
) -> None:
    """Tables: planes, tests, points, curves, nulls, dropped."""
    if planes:
        ctx.output.table("planes", {**_tables.columns(planes), **_tables.cone_columns(found)})
    if tests:
        ctx.output.table("tests", _tables.columns(tests))
    dropped = [(made.name, made.transform, *pair) for made in found for pair in made.dropped]
    if dropped:
        titles = ("basis", "transform", "plane", "cosine")
        ctx.output.table("dropped", {title: [row[i] for row in dropped] for i, title in enumerate(titles)})
    nulls: dict[str, list[Any]] = {n: [] for n in ("basis", "transform", "group", "draw", "largest")}
    points: dict[str, list[Any]] = {
        n: [] for n in ("basis", "transform", "plane", "row", "group", "x", "y", "r", "phi")
    }
    curves: dict[str, list[Any]] = {}
    for made in found:
        for group, tested in made.tested.items():
            kept = tested.maxima[:1000]
            for name, values in zip(
                nulls,
                ([made.name] * len(kept), [made.transform] * len(kept), [group] * len(kept), range(len(kept)), kept),
                strict=True,
            ):
                nulls[name].extend(values if not isinstance(values, np.ndarray) else values.tolist())
        if made.z is not None:
            _points(points, made, _tables.chosen(made, _tables.POINT_PLANES))
            _curves(config, ctx, curves, made, _tables.chosen(made, config.curves))
    for name, table in (("nulls", nulls), ("points", points), ("curves", curves)):
        if table and next(iter(table.values())):
            ctx.output.table(name, table)
    if config.project:
        _projected(config, ctx, points)


def _points(table: dict[str, list[Any]], made: Measured, places: list[int]) -> None:
    from radiograph.numerics.planes import degrees

    assert made.z is not None, "streamed planes keep no points"
    keys = made.rows.rows.keys
    for place in places:
        z = made.z[:, place].astype(np.float64)
        columns = (z[0].tolist(), z[1].tolist(), np.hypot(*z).tolist(), degrees(z).tolist())
        constant = ([name] * len(keys) for name in (made.name, made.transform, made.names[place]))
        for name, values in zip(table, (*constant, keys, made.rows.names, *columns), strict=True):
            table[name].extend(values)


def _curves(config: Config, ctx: Context, table: dict[str, list[Any]], made: Measured, places: list[int]) -> None:
    """Mean similarity, cones and signed cones at every angle; under `bird` his angle, which turns the other way."""
    from radiograph.numerics.planes import cone_fraction, curve, signed_fraction

    assert made.z is not None, "streamed planes keep no curves"
    bird = config.preset == "bird"
    angles = np.linspace(0, 360, config.angles) if bird else np.arange(config.angles) * 360 / config.angles
    ours = -angles if bird else angles
    names = np.array(made.rows.names)
    for place in places:
        for group in made.rows.groups:
            z = made.z[:, [place]][:, :, names == group].astype(np.float64)
            part: dict[str, list[Any]] = {
                "angle_deg": angles.tolist(),
                "mean_similarity": curve(made.statistics[group].grey[:, [place]], ours)[0].tolist(),
            }
            for epsilon in config.epsilon:
                part[f"cone_{epsilon:g}"] = cone_fraction(z, epsilon, ours)[0].tolist()
                if config.signed:
                    part[f"signed_{epsilon:g}"] = signed_fraction(z, epsilon, ours)[0].tolist()
            if config.csv and place == places[0]:
                safe = "".join(c if c.isalnum() else "_" for c in f"{made.name}_{made.transform}_{group}")
                ctx.output.text(f"csv/{safe}.csv", _csv(part))
            fixed = {"basis": made.name, "transform": made.transform, "plane": made.names[place], "group": group}
            for name, value in fixed.items():
                table.setdefault(name, []).extend([value] * len(angles))
            for name, values in part.items():
                table.setdefault(name, []).extend(values)


def _projected(config: Config, ctx: Context, points: dict[str, list[Any]]) -> None:
    """Bird's companion view: rows whose cosine with the plane reaches the first ε."""
    kept = [i for i, r in enumerate(points["r"]) if r >= config.epsilon[0]]
    if kept:
        ctx.output.table("projected", {name: [values[i] for i in kept] for name, values in points.items()})


def _csv(columns: dict[str, list[Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return out.getvalue()


def _triangulated(made: Measured) -> float:
    from radiograph.numerics.planes import triangulated, unit_rows

    unit, _ = unit_rows(made.rows.rows.values.astype(np.float64))
    return triangulated(unit.mean(axis=0), made.vectors[:512])[1]


def _transform(config: Config, ctx: Context, rows: VectorRows, kind: TransformName) -> Any:
    """From site statistics, or from the baseline rows themselves."""
    from radiograph.numerics.planes import Transform

    if config.statistics is not None and kind != "raw":
        from radiograph.store.statistics import read_statistics

        place = ctx.path(config.statistics, "statistics")
        place = place / "statistics" if (place / "statistics").is_dir() else place
        held, _ = read_statistics(place, model_sha256=rows.model)
        if rows.site not in held:
            raise UserError("no statistics of this site", expected=str(rows.site), got=", ".join(held))
        site = held[rows.site]
        return Transform.of(kind, site.mean, site.covariance, site.n)
    baseline = np.array([condition == "none" for condition in rows.columns["condition"]])
    values = rows.values[baseline] if baseline.any() else rows.values
    return Transform.fit(kind, values.astype(np.float64))


def _asked(config: Config, ctx: Context) -> _measure.Asked:
    pairs: list[tuple[str, str]] = []
    if config.plane_file is not None:
        path = ctx.path(config.plane_file, "planes")
        for number, line in enumerate(csv.reader(path.read_text("utf-8").splitlines()), 1):
            if len(line) != 2:
                where = f"{path.name}:{number}"
                raise UserError("a plane is two labels", where=where, expected="LABEL,LABEL", got=",".join(line))
            pairs.append((line[0].strip(), line[1].strip()))
    return _measure.Asked(
        epsilons=config.epsilon,
        signed=config.signed,
        pairs=config.planes,
        pair_names=tuple(pairs),
        max_planes=config.max_planes,
        min_sine=config.min_sine,
        null=config.null,
        fold=config.fold,
        permutations=config.permutations,
        limit=config.most_permutations,
        seed=ctx.seed,
        memory=config.memory,
    )


def _preset(config: Config) -> Config:
    return config if config.preset == "none" else config.model_copy(update=BIRD)


def recompute(result: dict[str, Any], folder: Any) -> list[str]:
    """Do q and the number of findings follow from the p of the tables?"""
    import polars

    from radiograph.numerics.multiplicity import q_values

    stored = ResonanceSweep.read(result)
    parts = [folder / "tables" / f"{name}.parquet" for name in ("planes", "tests")]
    frames = [polars.read_parquet(path).select("p", "q") for path in parts if path.is_file()]
    if not frames:
        return []
    table = polars.concat(frames).filter(polars.col("q").is_not_null())
    q = q_values(table["p"].to_numpy(), stored.fdr)
    problems = [] if np.allclose(q, table["q"].to_numpy(), atol=1e-12) else ["q does not follow from p"]
    found = int((q < 0.05).sum())
    return problems + ([f"found is {stored.found}, the tables give {found}"] if found != stored.found else [])
