"""Vectors that planes are made of: axes, means, differences, components, probes, features, chance.

1. rows: baseline rows of the vectors, where the filter holds; with --allow-intervened all of them
2. `one-hot`: unit axes. `means`, `contrast`: of the groups of --by (means: or of filters). `difference`: A less B, C
   less D (or the first component of all rows). `pca`: components. `sum`: vector arithmetic. `probe`: normals of ridge
   probes for filters, or those of a file. `file`: its vectors. `decoder`: write directions of features. `random`: haar,
   gaussian, split
3. what rows decide is fitted again without each core, so that no row is scored with a vector that it helped to make
4. cosines of every pair; above .95 means of groups are one common mean, and the result says so
5. `basis.safetensors` steers too: `capture --directions RUN/basis.safetensors --write SITE~0:add:1` pushes along its
   first vector, `~1` along the second, and so on; a label without spaces is a name as well
Units: those of the site. `--of` holds what the kind needs: units, filters, a sum, a count, feature numbers.

Refuses when: a group is smaller than --min-per-group, or no baseline row is left (exit 4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import Context, DictionaryRef, FilePath, FolderPath, Refusal, UserError
from radiograph.core.config import Positional
from radiograph.evidence import Result
from radiograph.evidence.resonance import Basis, BasisKind
from radiograph.methods.resonance._planes import _groups, _kinds

if TYPE_CHECKING:
    from radiograph.store.planes import VectorRows

COMMON = 0.95


class Config(Base):
    """What the vectors are, and which rows decide them."""

    kind: BasisKind
    """one-hot, means, contrast, difference, pca, probe, decoder, random, sum, file."""
    vectors: Annotated[FilePath | None, Positional()] = None
    """A capture, FILE.safetensors with FILE.csv, or an .npz of the original."""
    of: tuple[str, ...] = ()
    """What the kind needs, repeatable: units, filters, a sum, haar N, a number of components, features."""
    by: str = ""
    """Factors of the groups of means and contrast, comma-separated."""
    where: str = ""
    """Rows that count, as type=declarative,level>=4."""
    site: str | None = None
    """Site of the vectors; needed where there are several."""
    width: int | None = Field(default=None, ge=3)
    """Length of the vectors, where no file says it."""
    file: FilePath | None = None
    """Of probe and file: a safetensors file of vectors."""
    dictionary: DictionaryRef | None = None
    """Of decoder: whose features."""
    rates: FolderPath | None = None
    """Of decoder: a run of dictionary evaluate with the firing rates, for the null."""
    fold: Literal["core", "none"] = "core"
    """Fit without each core in turn, or once."""
    min_per_group: int = Field(default=3, ge=1)
    """Fewest rows of a mean."""
    allow_intervened: bool = False
    """Let rows under an intervention decide vectors; every result says so."""


class ResonanceBasis(Result):
    """A basis, and how its vectors lie to each other."""

    SCHEMA: ClassVar[str] = "radiograph.resonance_basis/1"

    basis: Basis
    cosines: tuple[tuple[float, ...], ...]
    """Of the first 32 vectors."""
    largest_cosine: float
    notes: tuple[str, ...]

    @property
    def headline(self) -> str:
        """How many vectors, from what."""
        basis = self.basis
        rows = f" from {len(basis.rows)} rows" if basis.rows else ""
        return f"{len(basis.labels)} {basis.kind} vectors of width {basis.width}{rows}"

    @property
    def lines(self) -> tuple[str, ...]:
        """What a reader should know."""
        return self.notes


def run(config: Config, ctx: Context) -> ResonanceBasis:
    """Make the vectors and write them down."""
    from radiograph.numerics.planes import unit_rows
    from radiograph.store.planes import basis_bytes

    rows = None if config.vectors is None else _rows(config, ctx)
    made = _made(config, ctx, rows)
    if not np.isfinite(made.vectors).all() or not (np.linalg.norm(made.vectors, axis=1) > 0).all():
        zero = [made.labels[i] for i in np.flatnonzero(np.linalg.norm(made.vectors, axis=1) == 0)]
        raise UserError("a vector of the basis has no direction", got=", ".join(zero) or "a value that is not finite")
    data, sha256 = basis_bytes(made.vectors, made.folds if config.fold == "core" else None, made.pool, made.alike)
    basis = Basis(
        kind=config.kind,
        site=config.site or (rows.site if rows else None),
        width=made.vectors.shape[1],
        model=rows.model if rows else None,
        role=made.role,
        labels=tuple(made.labels),
        null=made.null,
        by=_factors(config.by),
        terms=tuple(made.terms),
        weights=() if made.weights is None else tuple(tuple(map(float, row)) for row in made.weights),
        fit=made.fit,
        where=config.where,
        folds=tuple(made.fold_names) if config.fold == "core" and made.folds is not None else (),
        source_sha256=rows.sha256 if rows and made.fitted else None,
        rows=tuple(rows.keys) if rows and made.fitted else (),
        digests=rows.digests if rows and made.fitted else (),
        cores=tuple(map(str, _groups.grouped(rows, ()).cores)) if rows and made.fitted else (),
        counts=made.counts,
        intervened=rows is not None and made.fitted and any(c != "none" for c in rows.columns["condition"]),
        pool=rows.pool if rows else None,
        vectors_sha256=sha256,
    )
    ctx.output.data("basis.safetensors", data)
    ctx.output.json("basis.json", basis)
    unit, _ = unit_rows(made.vectors)
    gram = unit[:512] @ unit[:512].T
    return ResonanceBasis(
        basis=basis,
        cosines=tuple(tuple(float(np.clip(x, -1, 1)) for x in row) for row in gram[:32, :32]),
        largest_cosine=float(np.clip((gram - 2 * np.eye(len(gram))).max(), -1, 1)) if len(gram) > 1 else 0.0,
        notes=tuple(_notes(config, made, gram, rows)),
    )


def _rows(config: Config, ctx: Context) -> VectorRows:
    from radiograph.store.planes import BASELINE, open_rows

    rows = open_rows(ctx.path(config.vectors or "", "vectors"), config.site)
    if not config.allow_intervened:
        baseline = np.array([condition == BASELINE for condition in rows.columns["condition"]])
        if not baseline.any():
            raise Refusal(
                "no_baseline_rows",
                "every row was intervened on",
                got=f"{len(baseline)} rows, none under `none`",
                fix="capture without a write, or say --allow-intervened and have it stamped on every result",
            )
        rows = rows.chosen(baseline)
    return _groups.kept(rows, config.where)


def _made(config: Config, ctx: Context, rows: VectorRows | None) -> _kinds.Made:
    match config.kind:
        case "means":
            return _kinds.means(_needed(rows), _factors(config.by), config.of, config.min_per_group)
        case "contrast":
            return _kinds.contrast(_needed(rows), _factors(config.by), config.min_per_group)
        case "difference":
            return _kinds.difference(_needed(rows), config.of, config.min_per_group)
        case "sum":
            return _kinds.summed(_needed(rows), config.of, config.min_per_group)
        case "pca":
            return _kinds.pca(_needed(rows), _numbers(config.of or ("2",))[0])
        case "one-hot":
            return _kinds.one_hot(_numbers(config.of), _width(config, rows))
        case "random":
            kind, *count = (part for text in config.of for part in text.split())
            return _kinds.drawn(kind, _numbers(tuple(count) or ("20",))[0], _width(config, rows), rows, ctx.seed)
        case "probe" if config.file is None:
            if len(config.of) < 2:
                raise UserError("a plane takes two probes", expected="--of FILTER --of FILTER, or --file FILE")
            return _kinds.probes(_needed(rows), config.of, config.min_per_group)
        case "probe" | "file":
            return _from_file(config, ctx)
        case "decoder":
            return _decoder(config, ctx)


def _from_file(config: Config, ctx: Context) -> _kinds.Made:
    from radiograph.store.planes import read_named_vectors

    if config.file is None:
        raise UserError(f"--kind {config.kind} reads a file", expected="--file FILE.safetensors")
    vectors, names = read_named_vectors(ctx.path(config.file, "basis"))
    if config.kind == "probe":
        return _kinds.Made(vectors, names, "covector", "gaussian")
    return _kinds.Made(vectors, names, "difference", "haar")


def _decoder(config: Config, ctx: Context) -> _kinds.Made:
    if config.dictionary is None:
        raise UserError("--kind decoder needs a dictionary", expected="--dictionary DICT --of 3,17")
    dictionary = ctx.dictionary(config.dictionary)
    directions: np.ndarray = dictionary.decoder.detach().cpu().double().numpy()
    chosen = _numbers(config.of)
    rates = None if config.rates is None else _rates(config, ctx, directions)
    made = _kinds.decoder(directions, chosen, rates, ctx.seed)
    made.labels = [dictionary.address(i) for i in chosen]
    return made


def _rates(config: Config, ctx: Context, directions: np.ndarray) -> np.ndarray:
    """Share of rows on which each feature fires.

    Raises:
        UserError: a run without them, or one of another dictionary.
    """
    import polars

    path = ctx.path(config.rates or "", "rates") / "tables" / "features.parquet"
    table = polars.read_parquet(path) if path.is_file() else polars.DataFrame()
    if "density" not in table.columns:
        raise UserError(
            "no firing rates there",
            where=path.parent.parent.name,
            expected="a run of dictionary evaluate with --activations",
            fix="leave --rates out, and the basis has no null of its kind",
        )
    norms = np.linalg.norm(directions, axis=1)
    if len(table) != len(norms) or not np.allclose(table["norm"].to_numpy(), norms, rtol=1e-3):
        got = f"{len(table)} features" if len(table) != len(norms) else "features of other lengths"
        raise UserError("firing rates of another dictionary", expected=f"{len(norms)} features, these", got=got)
    return table["density"].to_numpy()


def _notes(config: Config, made: _kinds.Made, gram: np.ndarray, rows: VectorRows | None) -> list[str]:
    notes: list[str] = []
    above = int((np.triu(gram, 1) > COMMON).sum())
    if config.kind in ("means", "sum") and above:
        notes.append(f"{above} pairs have a cosine above {COMMON}: this plane is the common mean")
    if made.fitted and config.fold == "core" and made.folds is None:
        notes.append("no folds: rows are scored with vectors that they helped to make, which is circular, without a p")
    if config.kind == "decoder":
        said = f"null: features of the same firing-rate decile, {0 if made.alike is None else made.alike.shape[1]} each"
        notes.append(said if made.alike is not None else "no null: firing rates are not stored, say --rates RUN")
    if config.kind == "probe" and not made.fitted:
        notes.append("a file does not say which rows decided its probes, so that they cannot be fitted again")
    if rows is not None and rows.left_out:
        notes.append(f"{rows.left_out} rows without a finite vector are left out")
    return notes


def _needed(rows: VectorRows | None) -> VectorRows:
    if rows is None:
        raise UserError("this kind is fitted on rows", expected="resonance basis VECTORS --kind …")
    return rows


def _width(config: Config, rows: VectorRows | None) -> int:
    width = config.width or (None if rows is None else rows.values.shape[1])
    if width is None:
        raise UserError("of what width?", expected="VECTORS, or --width N")
    return width


def _factors(by: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in by.split(",") if part.strip())


def _numbers(texts: tuple[str, ...]) -> tuple[int, ...]:
    parts = [part for text in texts for part in text.replace(",", " ").split()]
    if not parts or not all(part.isdecimal() for part in parts):
        raise UserError("whole numbers are needed", expected="--of 373,2202", got=" ".join(texts) or "no --of")
    return tuple(map(int, parts))


def recompute(result: dict[str, Any], folder: Any) -> list[str]:
    """Are the vectors those of the record?"""
    from radiograph.store.planes import open_basis

    stored = ResonanceBasis.read(result).basis
    return [] if open_basis(folder).record == stored else ["basis.json is not the basis of the result"]
