"""Did a condition, a fine-tune or another text move rows in a plane? Paired rows of two runs, or of two conditions.

1. rows of left and right are paired by prompt and sample; the rest is counted. Left is the baseline: the rows under
   `none` of its run unless --left-condition names others; right all conditions, one comparison each
2. both sides in the planes of the basis; μ and S of a transform are those of the left
3. right less left: Grey vector, r, θ, largest cone fraction, signed; ‖mean Δz‖ and the mean of ‖Δz‖ over rows
4. null: sides exchanged by core; all exchanges where they are few. q over planes × groups × statistics × comparisons
5. was the write special: the same displacement in runs that pushed matched units, or random directions of equal norm,
   as hard (--controls); p by rank among at least 19 of either, q over all of them
6. a third run that followed the reference's text (--direct) splits movement: what is direct, and the rest, by the text
Units: cosines and degrees. Reference against candidate is legal: the basis stays the reference's.

Causal where one side was written, else correlational. Coordinates that a condition writes are taken out, or kept and
marked as tautological. Refuses when: nothing can be paired, one core is left (exit 4); site, width or basis differ
(exit 3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import Context, ExitCode, FilePath, FolderPath, Refusal, UserError
from radiograph.evidence import Result
from radiograph.evidence.resonance import Arrow, TransformName
from radiograph.methods.resonance._planes import _groups, _inputs, _measure, _movements, _tables, _written
from radiograph.methods.resonance._planes._movements import Pair

if TYPE_CHECKING:
    from radiograph.store.planes import VectorRows

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
    controls: tuple[FilePath, ...] = ()
    """Captures of the same prompts whose conditions push other units, or directions, as hard; repeatable."""
    statistics: FolderPath | None = None
    """A run of neurons scan, to centre and whiten with; by default the rows of the left."""
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


class ResonanceCompare(Result):
    """How far groups moved, plane by plane."""

    SCHEMA: ClassVar[str] = "radiograph.resonance_compare/1"

    kind: Literal["correlational", "causal"]
    site: str | None
    comparisons: dict[str, int]
    """Pairs of rows, by condition of the right side."""
    unpaired: int
    cores: int
    controls: dict[str, int]
    """Units and directions that were pushed as hard."""
    family: int
    fdr: Literal["bh", "by"]
    found: int
    special: int
    """Movements beyond those of controls, q < .05."""
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
        beside = f"; {self.special} beyond what controls do" if any(self.controls.values()) else ""
        what = f"{pairs} pairs, {self.cores} cores, {self.family} tests"
        return f"{self.found} movements at q < .05{beside} ({what})"

    @property
    def lines(self) -> tuple[str, ...]:
        """What a reader should know."""
        return self.notes

    @property
    def exit_code(self) -> ExitCode:
        """Not measured where nothing could be tested."""
        return ExitCode.PASS if self.family else ExitCode.NOT_MEASURED


def run(config: Config, ctx: Context) -> ResonanceCompare:
    """Pair, project, exchange sides."""
    from radiograph.store.planes import open_rows

    bases = _inputs.bases(ctx, config.basis)
    left, right = (open_rows(ctx.path(p, n), config.site) for p, n in ((config.left, "left"), (config.right, "right")))
    direct = None if config.direct is None else open_rows(ctx.path(config.direct, "direct"), config.site)
    controls = [
        open_rows(ctx.path(path, f"controls{place}"), config.site) for place, path in enumerate(config.controls)
    ]
    _same(
        left,
        [("right", right), *([] if direct is None else [("direct", direct)]), *(("controls", c) for c in controls)],
    )
    pairs, unpaired = _pairs(config, left, right, direct, controls)
    natural = _inputs.statistics(ctx, config.statistics, left)
    fitted = [_inputs.transform(kind, _own(config, left), natural) for kind in config.transform]
    units = _written.written(left, right, *controls).columns
    looking = _movements.Looking(
        by=tuple(_inputs.parts(config.group_by)),
        asked=_asked(config, ctx),
        drop=units if config.written == "drop" else (),
        kept=bool(units) and config.written == "keep",
    )
    moved: list[Arrow] = []
    with ctx.progress.task("comparisons", total=len(pairs)) as task:
        for pair in pairs:
            for name, stored in bases.items():
                for transform in fitted:
                    moved += looking.moved(pair, name, stored, transform)
            task.advance()
    if units:
        kept = "kept, and what moves there is a tautology" if config.written == "keep" else "taken out"
        looking.notes.append(f"written coordinates {list(units)[:8]} are {kept}")
    if any("tautological" in row.flags for row in moved) and not looking.kept:
        looking.notes.append("a direction is written at the site that was read: what moves along it is a tautology")
    moved, family = _corrected(moved, config.fdr)
    ctx.output.table("movements", _columns(moved))
    written = any(c != "none" for side in (left, right) for c in side.columns["condition"])
    ordered = sorted(moved, key=lambda row: (row.q if row.q is not None else 2.0, -row.displacement))
    return ResonanceCompare(
        kind="causal" if written else "correlational",
        site=left.site,
        comparisons={pair.name: len(pair.left.values) for pair in pairs},
        unpaired=unpaired,
        cores=len({str(core) for core in _groups.grouped(pairs[0].left, ()).cores}),
        controls={"units": len(pairs[0].units), "directions": len(pairs[0].directions)},
        family=family,
        fdr=config.fdr,
        found=sum(row.q is not None and row.q < 0.05 for row in moved),
        special=sum(row.q_controls is not None and row.q_controls < 0.05 for row in moved),
        moved=tuple(ordered[:_TOP]),
        smallest_p=max(looking.smallest) if looking.smallest else None,
        notes=tuple(dict.fromkeys(looking.notes)),
    )


def _same(left: VectorRows, others: list[tuple[str, VectorRows]]) -> None:
    """Whether all sides are of one site and width.

    Raises:
        UserError: both values, and whose they are.
    """
    for name, held in others:
        widths = left.values.shape[1], held.values.shape[1]
        for what, ours, theirs in (("site", left.site, held.site), ("width", *widths)):
            if ours is not None and theirs is not None and ours != theirs:
                what = f"left and {name} are of another {what}"
                raise UserError(what, expected=f"left: {ours}", got=f"{name}: {theirs}")


def _asked(config: Config, ctx: Context) -> _measure.Asked:
    return _measure.Asked(
        epsilons=config.epsilon,
        pairs=config.planes,
        max_planes=config.max_planes,
        min_sine=config.min_sine,
        permutations=config.permutations,
        seed=ctx.seed,
    )


def _corrected(moved: list[Arrow], fdr: Literal["bh", "by"]) -> tuple[list[Arrow], int]:
    """With q of exchanges and of controls, each over its own questions; how many exchanges were asked about."""
    from radiograph.numerics.multiplicity import q_values

    def smallest(*names: str) -> tuple[list[float | None], int]:
        p = np.array([[getattr(row, name) for name in names] for row in moved], dtype=np.float64)
        q = q_values(p.ravel(), fdr).reshape(p.shape)
        least = np.where(np.isnan(q), np.inf, q).min(axis=1).tolist()
        return [None if own == np.inf else own for own in least], int((~np.isnan(q)).sum())

    q, family = smallest("p", "p_r", "p_theta")
    beside, _ = smallest("p_units", "p_directions")
    updates = ({"q": own, "q_controls": other} for own, other in zip(q, beside, strict=True))
    return [row.model_copy(update=update) for row, update in zip(moved, updates, strict=True)], family


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


def _pairs(
    config: Config, left: VectorRows, right: VectorRows, direct: VectorRows | None, controls: list[VectorRows]
) -> tuple[list[Pair], int]:
    """One pairing for each condition of the right side; those of the same run leave out the left's own rows."""
    left, right = _groups.kept(_own(config, left), config.where), _groups.kept(right, config.where)
    by_condition = config.left_condition == "any"
    places = {key: i for i, key in enumerate(_keys(left, by_condition))}
    conditions = list(dict.fromkeys(map(str, right.columns["condition"])))
    if left.sha256 == right.sha256 and not by_condition and len(conditions) > 1:
        conditions = [condition for condition in conditions if condition != config.left_condition]
    pairs: list[Pair] = []
    matched = 0
    for condition in ["any"] if by_condition else conditions:
        side = right.chosen(np.array([by_condition or str(c) == condition for c in right.columns["condition"]]))
        keys = _keys(side, by_condition)
        common = [i for i, key in enumerate(keys) if key in places]
        if not common:
            continue
        matched += len(common)
        side = side.at(common)
        fed = None if direct is None else _like(direct, _keys(side, True), True, "--direct")
        units, directions = _controlled(controls, _keys(side, False), condition)
        own = left.at([places[keys[i]] for i in common])
        pairs.append(Pair(condition, own, side, fed, units, directions))
    if not pairs:
        raise Refusal(
            "nothing_paired",
            "no prompt and sample stands on both sides",
            got=f"{len(left.values)} and {len(right.values)} rows",
            fix="capture both sides on the same grid with the same samples",
        )
    return pairs, len(right.values) - matched


def _controlled(
    controls: list[VectorRows], keys: list[tuple[str, ...]], tested: str
) -> tuple[tuple[VectorRows, ...], tuple[VectorRows, ...]]:
    """Rows under each control, in the order of the right side: those that write units, and those along directions."""
    units: list[VectorRows] = []
    directions: list[VectorRows] = []
    for held in controls:
        for condition in dict.fromkeys(map(str, held.columns["condition"])):
            if condition not in ("none", tested):
                own = held.chosen(np.array([str(c) == condition for c in held.columns["condition"]]))
                (directions if "~" in condition else units).append(_like(own, keys, False, "--controls"))
    return tuple(units), tuple(directions)


def _like(rows: VectorRows, keys: list[tuple[str, ...]], condition: bool, option: str) -> VectorRows:
    """Rows in the order of these keys.

    Raises:
        UserError: a row that is not there.
    """
    places = {key: i for i, key in enumerate(_keys(rows, condition))}
    missing = [key for key in keys if key not in places]
    if missing:
        raise UserError(f"{option} lacks rows of the right side", got="|".join(missing[0]), where=option)
    return rows.at([places[key] for key in keys])


def _keys(rows: VectorRows, condition: bool) -> list[tuple[str, ...]]:
    names = ("id", "sample", "condition") if condition else ("id", "sample")
    return [tuple(map(str, row)) for row in zip(*(rows.columns[name] for name in names), strict=True)]


def _columns(moved: list[Arrow]) -> dict[str, list[Any]]:
    """The table: cones by ε, points by axis."""
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
