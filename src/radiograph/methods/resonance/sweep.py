"""What groups of rows do in planes: curves, Grey vectors, cones, and what chance would do.

1. rows of the vectors, in groups; vectors of each basis; both in each transform (raw and centred unless said otherwise:
   raw cosines mostly measure the shared mean)
2. every plane of every basis in closed form: r_G, θ_G, r̄, concentration, energy, lift, shape, exact cone suprema
3. r_G against the null of its kind of basis: labels exchanged within cores with the basis rebuilt, matched units,
   planes of equal covariance, other features, random planes
4. do groups differ: pseudo-F, labels exchanged within core and every other factor. Do rows crowd the axes: A₄ and the
   largest cones; are angles even: Rayleigh, Hodges–Ajne, Kuiper; both with the basis set turned at random
5. how much of the mean row all vectors hold together, against spans of random vectors of their kind
6. p = (1 + #)/(1 + K), drawn again with 10 K where it is smallest; q over planes × groups × statistics of the run;
   Westfall and Young beside it; intervals by drawing cores
Source: Bird (2025), arXiv 2505.13471. Units: cosines and degrees; +90° is the side of the second vector.

Correlational, unless rows were written. A basis that its own rows decided is circular and has no p. Finding nothing is
a result; where no p can be given at all nothing was measured (exit 4). Refuses when: no row is left, no two vectors
span a plane, a fold has no rows (exit 4); a basis of another width, site or model (exit 3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import Context, ExitCode, FilePath, FolderPath, Refusal
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
    Triangulation,
)
from radiograph.methods.resonance._planes import _curves, _groups, _inputs, _measure, _tables, _written

if TYPE_CHECKING:
    import polars

    from radiograph.methods.resonance._planes._measure import Measured
    from radiograph.numerics.units import SiteStatistics
    from radiograph.store.planes import StoredBasis

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
    """A run of neurons scan, to centre, whiten and match units with; by default the rows themselves."""
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
    """Also rows with r at least the first ε, and their density over that of isotropic rows."""
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
    triangulation: tuple[Triangulation, ...]
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

    @property
    def exit_code(self) -> ExitCode:
        """Not measured where nothing could be tested."""
        return ExitCode.PASS if self.family else ExitCode.NOT_MEASURED


def run(config: Config, ctx: Context) -> ResonanceSweep:
    """Measure every basis in every transform, then correct over all of it."""
    from radiograph.store.planes import open_rows

    config = _preset(config)
    bases = _inputs.bases(ctx, config.basis)
    rows = _groups.kept(open_rows(ctx.path(config.vectors, "vectors"), config.site), config.where)
    by = _inputs.parts(config.group_by) or next(iter(bases.values())).record.by
    grouped = _groups.grouped(rows, by)
    written = _written.written(rows)
    units = written.columns
    drop = units if config.written == "drop" else ()
    versions = {"": grouped}
    if config.adjust is not None:
        versions[f", without {config.adjust}"] = _groups.adjusted(grouped, config.adjust)
    natural = _inputs.statistics(ctx, config.statistics, rows)
    asked = _asked(config, ctx, natural)
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
                # Statistics of the site know nothing of vectors that were adjusted.
                transform = _inputs.transform(kind, own.rows, natural if own is grouped else None)
                found.append(_measure.measure(own, stored, name, transform, asked, drop))
            except Refusal as refusal:
                what = f"{name}, {kind}"
                refused.append(RefusalRecord(code=refusal.code, text=refusal.message, what=what, fix=refusal.fix))
                if len(jobs) == len(refused):
                    raise
            task.advance()
    notes = [f"written coordinates {list(units)[:8]} are taken out"] if drop else []
    if written.along:
        notes.append("a direction is written at the site that was read: what lies along it is a tautology")
    if written.along or (units and not drop):
        for made in found:
            made.flags.append("tautological")
    return _result(config, ctx, grouped, bases, found, refused, notes)


def _result(
    config: Config,
    ctx: Context,
    grouped: _groups.Grouped,
    bases: dict[str, StoredBasis],
    found: list[Measured],
    refused: list[RefusalRecord],
    notes: list[str],
) -> ResonanceSweep:
    rows = grouped.rows
    maps = [(made, *_tables.plane_map(made)) for made in found]
    counted = None
    if config.family == "clusters":
        counted = {
            (made.name, made.transform, made.label(i))
            for made, _, exemplars in maps
            for i in (range(len(made.planes)) if exemplars is None else exemplars.tolist())
        }
    planes, tests, family = _tables.corrected(
        _tables.plane_table(found), _tables.test_table(found), config.fdr, counted
    )
    _write(config, ctx, found, planes, tests)
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
        nulls={f"{made.name}, {made.transform}": _null(made) for made in found},
        transforms=config.transform,
        n_planes=sum(len(made.planes) for made in found),
        n_dropped=sum(len(made.dropped) for made in found),
        family=family,
        fdr=config.fdr,
        found=sum(int((frame["q"] < 0.05).sum()) for frame in (planes, tests) if len(frame)),
        top=tuple(PlaneGroup(**row) for row in _tables.leading(planes, "r", _TOP)),
        tests=tuple(GroupTest(**row) for row in _tables.leading(tests, "value", _TOP)),
        compass=tuple(one for one in drawn if one is not None)[:4],
        spreads=tuple(spread for made in found[:4] for spread in _tables.spreads(made)),
        maps=tuple(one for _, one, _ in maps if one is not None)[:2],
        triangulation=tuple(made.span for made in found if made.span is not None),
        refused=tuple(refused),
        notes=tuple(dict.fromkeys(notes)),
    )


def _null(made: Measured) -> str:
    if made.circular or "no null" in made.flags:
        return "none: circular" if made.circular else "none"
    return made.null if made.z is not None else "haar"


def _write(
    config: Config, ctx: Context, found: list[Measured], planes: polars.DataFrame, tests: polars.DataFrame
) -> None:
    """Tables: planes, tests, dropped, nulls, points, curves, projected, density."""
    for name, frame in (("planes", planes), ("tests", tests)):
        if len(frame):
            columns: dict[str, Any] = {title: frame[title] for title in frame.columns}
            ctx.output.table(name, columns)
    dropped = [(made.name, made.transform, *pair) for made in found for pair in made.dropped]
    if dropped:
        ctx.output.table("dropped", _inputs.titled(dropped, "basis", "transform", "plane", "cosine"))
    nulls = [
        (made.name, made.transform, group, draw, float(largest))
        for made in found
        for group, tested in made.tested.items()
        for draw, largest in enumerate(tested.maxima[:1000])
    ]
    if nulls:
        ctx.output.table("nulls", _inputs.titled(nulls, "basis", "transform", "group", "draw", "largest"))
    drawn = _curves.Drawn(
        angles=config.angles,
        epsilons=config.epsilon,
        signed=config.signed,
        curves=config.curves,
        bird=config.preset == "bird",
        project=config.project,
    )
    for made in found:
        drawn.add(made)
    for name, table in drawn.tables.items():
        ctx.output.table(name, table)
    for name, text in drawn.texts.items() if config.csv else ():
        ctx.output.text(name, text)


def _asked(config: Config, ctx: Context, natural: SiteStatistics | None) -> _measure.Asked:
    return _measure.Asked(
        epsilons=config.epsilon,
        signed=config.signed,
        pairs=config.planes,
        pair_names=_inputs.plane_pairs(ctx, config.plane_file),
        max_planes=config.max_planes,
        min_sine=config.min_sine,
        null=config.null,
        fold=config.fold,
        permutations=config.permutations,
        limit=config.most_permutations,
        seed=ctx.seed,
        memory=config.memory,
        natural=_inputs.matching(natural),
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
