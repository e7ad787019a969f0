"""Did a condition, a fine-tune or another text move rows in a plane? Paired rows of two runs, or of two conditions.

1. rows of left and right are paired by prompt and sample; the rest is counted. Left is the baseline: the rows under
   `none` of its run unless --left-condition names others; right all conditions, one comparison each
2. both sides in the planes of the basis; μ and S of a transform are those of the left
3. right less left: Grey vector, r, θ, largest cone fraction, signed; ‖mean Δz‖ and the mean of ‖Δz‖ over rows
4. null: sides exchanged by core; all exchanges where they are few. q over planes × groups × statistics × comparisons
5. a third run that followed the reference's text (--direct) splits movement: what is direct, and the rest, by the text
Units: cosines and degrees. Reference against candidate is legal: the basis stays the reference's.

Causal where one side was written, else correlational. Coordinates that a condition writes are taken out, or kept and
marked as tautological. Refuses when: nothing can be paired, one core is left (exit 4); site, width or basis differ
(exit 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import Context, FilePath, FolderPath, Refusal, UserError, derive
from radiograph.evidence import Result
from radiograph.evidence.resonance import Movement, TransformName
from radiograph.methods.resonance._planes import _groups, _measure, _tables

if TYPE_CHECKING:
    from radiograph.numerics.planes import Planes, Transform
    from radiograph.store.planes import StoredBasis, VectorRows

_TOP = 40


class Config(Base):
    """Two sides, and the planes they are looked at in."""

    left: FilePath
    """The side before: a capture, FILE.safetensors with FILE.csv, or an .npz of the original."""
    right: FilePath
    """The side after; the same run compares its conditions."""
    basis: tuple[FolderPath, ...] = ()
    """A run of resonance basis; repeatable."""
    group_by: str = ""
    """Factors, comma-separated; `all` is always a group."""
    where: str = ""
    """Rows that count, on both sides."""
    site: str | None = None
    """Site of the vectors; needed where there are several."""
    left_condition: str = "none"
    """Condition of the left rows; `any` pairs equal conditions."""
    direct: FilePath | None = None
    """The right side with the reference's text fed to it."""
    transform: tuple[TransformName, ...] = ("raw", "centred")
    """raw, centred, whitened; repeatable."""
    planes: Literal["comb", "perm"] = "comb"
    """Every pair of vectors once, or in both orders."""
    max_planes: int = Field(default=1000, ge=1, le=100_000)
    """Draw at most so many."""
    min_sine: float = Field(default=0.05, gt=0, le=1)
    """Pairs nearer to parallel have no plane."""
    epsilon: tuple[float, ...] = (0.1, 0.5)
    """Cones; repeatable."""
    permutations: int = Field(default=9999, ge=19, le=1_000_000)
    """Exchanges of sides, where not all can be taken."""
    fdr: Literal["bh", "by"] = "bh"
    """Benjamini-Hochberg or Benjamini-Yekutieli."""
    written: Literal["drop", "keep"] = "drop"
    """Take coordinates that a condition writes out of rows and planes, or keep them, marked."""


class Arrow(Movement):
    """A movement as it is drawn."""

    left: tuple[float, float]
    right: tuple[float, float]
    direct: tuple[float, float] | None = None
    """Where the right side would be with the reference's text."""


class ResonanceCompare(Result):
    """How far groups moved, plane by plane."""

    SCHEMA: ClassVar[str] = "radiograph.resonance_compare/1"

    kind: Literal["correlational", "causal"]
    site: str | None
    comparisons: dict[str, int]
    """Pairs of rows, by condition of the right side."""
    unpaired: int
    cores: int
    family: int
    fdr: Literal["bh", "by"]
    found: int
    moved: tuple[Arrow, ...]
    """The most surprising first."""
    smallest_p: float | None
    notes: tuple[str, ...]

    @property
    def headline(self) -> str:
        """How many movements are beyond chance."""
        pairs = sum(self.comparisons.values())
        if not self.family:
            return f"{pairs} pairs: no p is given"
        return f"{self.found} of {self.family} movements at q < .05 ({pairs} pairs, {self.cores} cores)"

    @property
    def lines(self) -> tuple[str, ...]:
        """What a reader should know."""
        return self.notes


@dataclass(frozen=True, eq=False)
class _Pair:
    """Rows of both sides in one order."""

    name: str
    left: VectorRows
    right: VectorRows
    direct: VectorRows | None


def run(config: Config, ctx: Context) -> ResonanceCompare:
    """Pair, project, exchange sides."""
    from radiograph.numerics.multiplicity import q_values
    from radiograph.numerics.planes import Transform
    from radiograph.store.planes import open_basis, open_rows

    if not config.basis:
        raise UserError("a comparison needs a basis", expected="--basis RUN", fix="make one: resonance basis --kind …")
    bases = _measure.named_bases(
        [open_basis(ctx.path(name, f"basis{place}")) for place, name in enumerate(config.basis)]
    )
    left, right = (open_rows(ctx.path(p, n), config.site) for p, n in ((config.left, "left"), (config.right, "right")))
    direct = None if config.direct is None else open_rows(ctx.path(config.direct, "direct"), config.site)
    for what, ours, theirs in (("site", left.site, right.site), ("width", *(r.values.shape[1] for r in (left, right)))):
        if ours is not None and theirs is not None and ours != theirs:
            raise UserError(f"left and right are of another {what}", expected=f"left: {ours}", got=f"right: {theirs}")
    pairs, unpaired = _pairs(config, left, right, direct)
    fitted = [Transform.fit(kind, _own(config, left).values.astype(np.float64)) for kind in config.transform]
    units = sorted({unit for side in (left, right) for unit in _groups.written_units(side)})
    moved: list[Arrow] = []
    notes: list[str] = []
    smallest: list[float] = []
    with ctx.progress.task("comparisons", total=len(pairs)) as task:
        for pair in pairs:
            for name, stored in bases.items():
                for transform in fitted:
                    drop = units if config.written == "drop" else []
                    moved += _moved(config, ctx, pair, name, stored, transform, drop, notes, smallest)
            task.advance()
    if units:
        kept = "kept, and what moves there is a tautology" if config.written == "keep" else "taken out"
        notes.append(f"written coordinates {units[:8]} are {kept}")
    p = [np.nan if x is None else x for row in moved for x in (row.p, row.p_r, row.p_theta)]
    q = q_values(np.array(p, dtype=np.float64), config.fdr).reshape(-1, 3)
    moved = [
        row.model_copy(update={"q": None if np.isnan(q[i]).all() else float(np.nanmin(q[i]))})
        for i, row in enumerate(moved)
    ]
    if moved:
        ctx.output.table("movements", _columns(moved))
    written = any(c != "none" for side in (left, right) for c in side.columns["condition"])
    ordered = sorted(moved, key=lambda row: (row.q if row.q is not None else 2.0, -row.displacement))
    return ResonanceCompare(
        kind="causal" if written else "correlational",
        site=left.site,
        comparisons={pair.name: len(pair.left.values) for pair in pairs},
        unpaired=unpaired,
        cores=len({str(core) for core in _groups.grouped(pairs[0].left, ()).cores}),
        family=int((~np.isnan(q)).sum()),
        fdr=config.fdr,
        found=sum(row.q is not None and row.q < 0.05 for row in moved),
        moved=tuple(ordered[:_TOP]),
        smallest_p=max(smallest) if smallest else None,
        notes=tuple(dict.fromkeys(notes)),
    )


def _own(config: Config, left: VectorRows) -> VectorRows:
    """The rows that stand for the left side."""
    if config.left_condition == "any":
        return left
    mine = np.array([condition == config.left_condition for condition in left.columns["condition"]])
    if not mine.any():
        known = ", ".join(dict.fromkeys(map(str, left.columns["condition"])))
        raise Refusal(
            "no_baseline_rows",
            f"the left side has no row under {config.left_condition}",
            expected=known,
            fix="say --left-condition NAME, or `any` to pair equal conditions",
        )
    return left.chosen(mine)


def _pairs(config: Config, left: VectorRows, right: VectorRows, direct: VectorRows | None) -> tuple[list[_Pair], int]:
    """One pairing for each condition of the right side; those of the same run leave out the left's own rows."""
    left, right = _groups.kept(_own(config, left), config.where), _groups.kept(right, config.where)
    by_condition = config.left_condition == "any"
    places = {key: i for i, key in enumerate(_keys(left, by_condition))}
    conditions = list(dict.fromkeys(map(str, right.columns["condition"])))
    if left.sha256 == right.sha256 and not by_condition and len(conditions) > 1:
        conditions = [condition for condition in conditions if condition != config.left_condition]
    pairs: list[_Pair] = []
    matched = 0
    for condition in ["any"] if by_condition else conditions:
        mine = np.array([by_condition or str(c) == condition for c in right.columns["condition"]])
        side = right.chosen(mine)
        keys = _keys(side, by_condition)
        common = [i for i, key in enumerate(keys) if key in places]
        if not common:
            continue
        fed = None if direct is None else _fed(direct, side, common)
        matched += len(common)
        pairs.append(_Pair(condition, _at(left, [places[keys[i]] for i in common]), _at(side, common), fed))
    if not pairs:
        raise Refusal(
            "nothing_paired",
            "no prompt and sample stands on both sides",
            got=f"{len(left.values)} and {len(right.values)} rows",
            fix="capture both sides on the same grid with the same samples",
        )
    return pairs, len(right.values) - matched


def _fed(direct: VectorRows, side: VectorRows, common: list[int]) -> VectorRows:
    places = {key: i for i, key in enumerate(_keys(direct, True))}
    keys = _keys(side, True)
    missing = [keys[i] for i in common if keys[i] not in places]
    if missing:
        raise UserError("--direct lacks rows of the right side", got="|".join(map(str, missing[0])), where="--direct")
    return _at(direct, [places[keys[i]] for i in common])


def _keys(rows: VectorRows, condition: bool) -> list[tuple[str, ...]]:
    names = ("id", "sample", "condition") if condition else ("id", "sample")
    return [tuple(map(str, row)) for row in zip(*(rows.columns[name] for name in names), strict=True)]


def _at(rows: VectorRows, places: list[int]) -> VectorRows:
    columns = {name: [held[i] for i in places] for name, held in rows.columns.items()}
    given = (rows.factors, rows.site, rows.model, rows.pool, rows.sha256, rows.left_out)
    return type(rows)(rows.values[places], columns, *given)


def _moved(
    config: Config,
    ctx: Context,
    pair: _Pair,
    name: str,
    stored: StoredBasis,
    transform: Transform,
    drop: list[int],
    notes: list[str],
    smallest: list[float],
) -> list[Arrow]:
    """Every plane and group of one comparison, basis and transform."""
    from radiograph.numerics.planes import planes_of

    by = [part.strip() for part in config.group_by.split(",") if part.strip()]
    grouped = _groups.grouped(pair.left, by)
    _measure.fits(grouped, stored, transform)
    basis = _measure.unit_vectors(stored, transform, drop)
    asked = _measure.Asked(pairs=config.planes, max_planes=config.max_planes, seed=ctx.seed)
    first, second = _measure.pairs_of(stored, asked)
    planes, kept = planes_of(basis @ basis.T, first, second, config.min_sine)
    if not len(planes):
        raise Refusal("collinear_basis", "no two vectors of the basis span a plane", fix="lower --min-sine")
    labels = stored.record.labels
    names = [f"{labels[a]} × {labels[b]}" for a, b in zip(first[kept], second[kept], strict=True)]
    sides = [pair.left, pair.right, *([] if pair.direct is None else [pair.direct])]
    z, live = _coordinates(sides, basis, planes, transform, drop)
    if not live.all():
        notes.append(f"{int((~live).sum())} pairs with a row of length zero are left out")
    groups = {"all": live, **{g: live & np.array([n == g for n in grouped.names]) for g in grouped.groups if by}}
    out: list[Arrow] = []
    for group, mine in groups.items():
        cores = [core for core, own in zip(grouped.cores, mine, strict=True) if own]
        chosen = [side[:, :, mine] for side in z]
        out += _arrows(config, ctx, pair.name, name, transform.kind, group, names, chosen, cores, notes, smallest)
    return out


def _coordinates(
    sides: list[VectorRows], basis: np.ndarray, planes: Planes, transform: Transform, drop: list[int]
) -> tuple[list[np.ndarray], np.ndarray]:
    """Z of each side, and which pairs have a length on all of them."""
    from radiograph.numerics.planes import coordinates

    out, live = [], np.ones(len(sides[0].values), dtype=bool)
    for side in sides:
        values = _groups.without(transform.apply(side.values.astype(np.float64)), drop)
        norms = np.linalg.norm(values, axis=1)
        live &= norms > 0
        out.append(coordinates((values / np.where(norms > 0, norms, 1)[:, None]) @ basis.T, planes))
    return out, live


def _arrows(
    config: Config,
    ctx: Context,
    condition: str,
    basis: str,
    transform: TransformName,
    group: str,
    names: list[str],
    z: list[np.ndarray],
    cores: list[Any],
    notes: list[str],
    smallest: list[float],
) -> list[Arrow]:
    from radiograph.numerics.planes import Flips, Tested, against_null, supremum, turn

    left, right = z[:2]
    if not left.shape[2]:
        return []
    tests: dict[str, Tested] = {}
    if len(set(cores)) >= 2:
        for statistic in ("displacement", "length", "angle"):
            source = Flips.of(left, right, cores, statistic)
            seed = derive(ctx.seed, statistic)
            tests[statistic] = against_null(source.observed(), source, seed=seed, draws=config.permutations, limit=0)
            smallest.append(tests[statistic].smallest)
    else:
        notes.append(f"{group}: one core, so that sides cannot be exchanged and no p is given")
    one, two = left.mean(axis=2), right.mean(axis=2)
    fed = z[2].mean(axis=2) if len(z) > 2 else None
    angles = turn(one, two)
    cones = {
        (e, s): supremum(right, e, signed=s)[0] - supremum(left, e, signed=s)[0]
        for e in config.epsilon
        for s in (False, True)
    }
    per_row = np.hypot(*(right - left)).mean(axis=1)
    out: list[Arrow] = []
    for i, plane in enumerate(names):
        r = [float(np.hypot(*side[:, i])) for side in (one, two)]
        p = {statistic: float(tested.p[i]) for statistic, tested in tests.items()}
        delta = two[:, i] - one[:, i]
        out.append(
            Arrow(
                basis=basis,
                transform=transform,
                plane=plane,
                group=f"{condition}: {group}",
                n=left.shape[2],
                left_r=r[0],
                right_r=r[1],
                delta_r=r[1] - r[0],
                delta_theta=float(angles[i]) if min(r) > 0 else None,
                displacement=float(np.hypot(*delta)),
                delta_grey=(float(delta[0]), float(delta[1])),
                row_displacement=float(per_row[i]),
                delta_cone={f"{e:g}": float(cones[e, False][i]) for e in config.epsilon},
                delta_signed={f"{e:g}": float(cones[e, True][i]) for e in config.epsilon},
                p=p.get("displacement"),
                p_r=p.get("length"),
                p_theta=p.get("angle"),
                flags=("tautological",) if config.written == "keep" else (),
                left=(float(one[0, i]), float(one[1, i])),
                right=(float(two[0, i]), float(two[1, i])),
                direct=None if fed is None else (float(fed[0, i]), float(fed[1, i])),
            )
        )
    return out


def _columns(moved: list[Arrow]) -> dict[str, list[Any]]:
    """The table: cones by ε, direct and text-mediated displacement where a third run says it."""
    plain = {
        name: values
        for name, values in _tables.columns(moved).items()
        if name not in ("delta_cone", "delta_signed", "left", "right", "direct", "delta_grey")
    }
    for side in ("left", "right"):
        for axis in (0, 1):
            plain[f"{side}_{'xy'[axis]}"] = [getattr(row, side)[axis] for row in moved]
    for name in ("delta_cone", "delta_signed"):
        for epsilon in getattr(moved[0], name):
            plain[f"{name}_{epsilon}"] = [getattr(row, name)[epsilon] for row in moved]
    if moved[0].direct is not None:
        fed = [(row, row.direct) for row in moved if row.direct is not None]
        plain["direct"] = [float(np.hypot(d[0] - row.left[0], d[1] - row.left[1])) for row, d in fed]
        plain["text_mediated"] = [float(np.hypot(row.right[0] - d[0], row.right[1] - d[1])) for row, d in fed]
    return plain


def recompute(result: dict[str, Any], folder: Any) -> list[str]:
    """Does the number of findings follow from the table?"""
    import polars

    stored = ResonanceCompare.read(result)
    path = folder / "tables" / "movements.parquet"
    if not path.is_file():
        return []
    found = int((polars.read_parquet(path)["q"].fill_null(1.0) < 0.05).sum())
    return [] if found == stored.found else [f"found is {stored.found}, the table gives {found}"]
