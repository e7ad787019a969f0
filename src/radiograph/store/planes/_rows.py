"""Vectors with the rows that they belong to, from whatever holds them.

1. A bundle of `resonance capture`: one site of it; the columns from `core` to `variant` are the factors.
2. `FILE.safetensors` with `FILE.csv` beside it: one tensor [row, width], or one a site; the table needs `core`, every
   further column that is not reserved is a factor. A column of whole or decimal numbers holds numbers.
3. The `.npz` of the original scripts: one vector a key, `core_id=X_type=Y_level=Z` and, where something was written,
   `_sweep=V`; X may hold underscores. Its `__metadata__` is a pickle and is never opened; no array of objects is.

Rows without a finite vector are left out and counted. Refuses what cannot be told apart: one prompt, condition and
sample twice.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from radiograph.core import FormatError, Site, UserError, nearest
from radiograph.store._hashing import file_sha256

BASELINE = "none"
_NOT_FACTORS = frozenset(
    (
        "row",
        "id",
        "prompt_id",
        "core",
        "core_id",
        "variant",
        "sample",
        "seed",
        "condition",
        "target",
        "op",
        "dose_value",
        "dose_unit",
        "dose_raw",
        "dose_sd",
        "dose_quantile",
        "dose_norm",
        "positions",
        "n_prompt",
        "n_new",
        "stop",
        "ids",
        "text",
        "prompt",
        "prompt_text",
        "mean_logprob",
        "entropy",
        "min_gap",
        "vector",
        "split",
        "proposition",
        "line",
        "sweep",
        "hash",
        "row_sha256",
        "truncated",
        "reads",
        "follow",
        "shard",
        "kl",
        "kl_steps",
        "vector_note",
        "sha256",
    )
)
"""Columns of rows that say what was run, not what was asked."""
_KEY = re.compile(r"core_id=(?P<core>.+)_type=(?P<type>.+?)_level=(?P<level>[^_]+)(?:_sweep=(?P<sweep>.+))?")


@dataclass(frozen=True)
class WrittenColumns:
    """Columns of a site that a condition writes, one past the last; perhaps along a direction in them."""

    site: str
    first: int
    last: int
    direction: bool


@dataclass(frozen=True, eq=False)
class VectorRows:
    """Vectors, and one value a row in every column."""

    values: np.ndarray
    """[row, width] float32, finite."""
    columns: dict[str, list[Any]]
    """With at least `id core condition sample`."""
    factors: tuple[str, ...]
    site: str | None
    model: str | None
    pool: str | None
    sha256: str
    left_out: int
    confounded: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Factor to what else differs between its levels, where a capture says so."""
    writes: Mapping[str, Sequence[WrittenColumns]] = field(default_factory=dict)
    """What each condition writes, where a capture says so."""
    digests: tuple[str, ...] = ()
    """Of each vector as it was read, whatever is done to it later: the same rows are known in another file."""

    def __post_init__(self) -> None:
        if not self.digests:
            # Added to zero, a row of −0 is one of 0.
            rows = self.values.astype("<f4") + np.float32(0)
            found = tuple(hashlib.sha256(row.tobytes()).hexdigest()[:16] for row in rows)
            object.__setattr__(self, "digests", found)

    @property
    def prompts(self) -> list[str]:
        """The id of the prompt of each row."""
        return [str(own) for own in self.columns["id"]]

    @property
    def keys(self) -> list[str]:
        """A name for each row."""
        parts = (self.columns[name] for name in ("id", "condition", "sample"))
        return ["|".join(map(str, row)) for row in zip(*parts, strict=True)]

    def chosen(self, mask: np.ndarray) -> VectorRows:
        """Some of the rows."""
        return self.at(np.flatnonzero(mask).tolist())

    def at(self, places: Sequence[int]) -> VectorRows:
        """Rows in this order."""
        columns = {name: [held[i] for i in places] for name, held in self.columns.items()}
        digests = tuple(self.digests[i] for i in places)
        return replace(self, values=self.values[list(places)], columns=columns, digests=digests)


def open_rows(path: Path, site: str | None = None) -> VectorRows:
    """Vectors and rows of a bundle or file.

    Raises:
        UserError: several sites and none named, a site that is not there, no table, rows that cannot be told apart.
        FormatError: objects in an archive, or a file of another kind.
    """
    if path.is_dir():
        return _capture(path, site)
    if path.suffix == ".npz":
        return _archive(path)
    if path.suffix == ".safetensors":
        return _tensors(path, site)
    raise FormatError(
        f"{path.name} holds no vectors that can be read",
        expected="the bundle of a capture, FILE.safetensors with FILE.csv, or an .npz",
        got=path.suffix or "no ending",
    )


def read_named_vectors(path: Path) -> tuple[np.ndarray, list[str]]:
    """Every row of every tensor of a file, named by tensor and number: vectors without rows.

    Raises:
        FormatError: tensors of different widths, or none.
    """
    if not path.is_file() or path.suffix != ".safetensors":
        raise FormatError("no tensor file", expected="FILE.safetensors", got=path.name)
    arrays = {name: np.atleast_2d(array) for name, array in sorted(_loaded(path).items()) if array.dtype.kind == "f"}
    widths = {array.shape[-1] for array in arrays.values()}
    if len(widths) != 1 or any(array.ndim != 2 for array in arrays.values()):
        raise FormatError("a basis has vectors of one width", where=path.name, got=f"widths {sorted(widths)}")
    names = [f"{n}[{i}]" if len(a) > 1 else n for n, a in arrays.items() for i in range(len(a))]
    return np.concatenate([a.astype(np.float64) for a in arrays.values()]), names


def _capture(path: Path, site: str | None) -> VectorRows:
    from radiograph.store.vectors import open_vectors

    held = open_vectors(path)
    chosen = _site(held.sites, site, path.name)
    columns = {name: column.to_list() for name, column in zip(held.rows.columns, held.rows, strict=True)}
    columns["id"] = columns.get("prompt_id", columns.get("id", list(range(held.n_rows))))
    names = held.rows.columns
    if "core" in names and "variant" in names:
        factors = tuple(names[names.index("core") + 1 : names.index("variant")])
    else:
        factors = None
    facts = held.index
    model = facts.get("model")
    name = model if isinstance(model, str) or model is None else str(model.get("sha256"))
    sha256 = file_sha256(path / "vectors" / "index.json")
    found = {"site": chosen, "model": name, "pool": held.pool, "sha256": sha256}
    found["confounded"] = _confounded(path / "result.json")
    found["writes"] = _writes(path / "conditions.json")
    return _made(held.read(chosen), columns, path.name, factors, **found)


def _confounded(path: Path) -> dict[str, list[str]]:
    """What the capture says of its grid."""
    return json.loads(path.read_bytes()).get("confounded", {}) if path.is_file() else {}


def _writes(path: Path) -> dict[str, list[WrittenColumns]]:
    """What each condition of a capture writes, in the columns of its model.

    Raises:
        FormatError: another document.
    """
    if not path.is_file():
        return {}
    try:
        return {
            condition["name"]: [
                WrittenColumns(write["raw"]["site"], *write["raw"]["columns"], direction=bool(write["raw"]["basis"]))
                for write in condition["writes"]
            ]
            for condition in json.loads(path.read_bytes())["conditions"]
        }
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"cannot read {path.name}", where=str(path), got=repr(error)) from error


def _tensors(path: Path, site: str | None) -> VectorRows:
    table = path.with_suffix(".csv")
    if not table.is_file():
        raise UserError(f"{path.name} has no table beside it", expected=table.name, fix="one line a row, with `core`")
    with table.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        names = list(reader.fieldnames or ())
        lines = list(reader)
    if "core" not in names:
        raise FormatError(
            "the table names no core", where=f"{table.name}:1", expected="a column `core`", got=str(names)
        )
    columns: dict[str, list[Any]] = {name: _typed([line[name] for line in lines]) for name in names}
    arrays = {name: array for name, array in _loaded(path).items() if array.ndim == 2 and array.dtype.kind == "f"}
    chosen = _site(tuple(arrays), site, path.name)
    values = arrays[chosen].astype(np.float32)
    if len(values) != len(lines):
        raise FormatError(
            "table and tensor differ in length",
            where=table.name,
            expected=f"{len(values)} rows, those of {chosen}",
            got=str(len(lines)),
        )
    sha256 = file_sha256(path)
    named = site or _address(chosen)
    return _made(values, columns, path.name, site=named, model=None, pool=None, sha256=sha256)


def _loaded(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a file.

    Raises:
        FormatError: it cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise FormatError(f"{path.name} cannot be read", expected="safetensors", got=str(error)) from error


def _address(name: str) -> str | None:
    """The site that a tensor is named for, if it is named for one."""
    try:
        return str(Site.parse(name))
    except UserError:
        return None


def _archive(path: Path) -> VectorRows:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
    except (OSError, zipfile.BadZipFile) as error:
        raise FormatError(f"{path.name} is no .npz archive", where=str(path), got=str(error)) from error
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise FormatError("one prompt and dose twice", where=path.name, got=", ".join(twice[:3]))
    columns: dict[str, list[Any]] = {name: [] for name in ("core", "type", "level", "condition")}
    found: list[np.ndarray] = []
    with np.load(path, allow_pickle=False) as arrays:
        for name in names:
            if name == "__metadata__":
                continue
            key = _KEY.fullmatch(name)
            if key is None:
                raise FormatError(
                    "a key that is none of the original's",
                    where=f"{path.name}: {name}",
                    expected="core_id=X_type=Y_level=Z, with _sweep=V where something was written",
                )
            found.append(_plain(arrays, name, path))
            sweep = key["sweep"]
            written = sweep is not None and sweep.casefold() not in {"none", "baseline"}
            for column, value in zip(columns, (*key.group("core", "type", "level"), sweep), strict=True):
                columns[column].append(value if column != "condition" else f"sweep={sweep}" if written else BASELINE)
    if not found:
        raise FormatError("an archive without vectors", where=path.name, expected="keys core_id=X_type=Y_level=Z")
    widths = sorted({len(vector) for vector in found})
    if len(widths) > 1:
        raise FormatError("vectors of different widths in one file", where=path.name, got=str(widths))
    columns["level"] = _typed(columns["level"])
    sha256 = file_sha256(path)
    return _made(np.stack(found), columns, path.name, site=None, model=None, pool=None, sha256=sha256)


def _plain(arrays: Mapping[str, np.ndarray], name: str, path: Path) -> np.ndarray:
    try:
        array = arrays[name]
    except ValueError as error:
        raise FormatError(
            "an array of objects is a pickle, and is not opened",
            where=f"{path.name}: {name}",
            expected="an array of numbers",
            fix="save the vectors as plain arrays",
        ) from error
    if array.dtype.kind != "f" or array.ndim != 1:
        raise FormatError("not a vector", where=f"{path.name}: {name}", got=f"{array.dtype} {array.shape}")
    return array.astype(np.float32)


def _made(
    values: np.ndarray,
    columns: dict[str, list[Any]],
    name: str,
    factors: tuple[str, ...] | None = None,
    **facts: Any,
) -> VectorRows:
    rows = len(values)
    columns.setdefault("condition", [BASELINE] * rows)
    columns["condition"] = [BASELINE if c in (None, "", BASELINE) else str(c) for c in columns["condition"]]
    columns.setdefault("sample", [0] * rows)
    if "id" not in columns:
        columns["id"] = _ids(columns, rows)
    finite = np.asarray(np.isfinite(values).all(axis=1))
    if factors is None:
        factors = tuple(n for n in columns if n not in _NOT_FACTORS)
    made = VectorRows(values, columns, factors, left_out=int((~finite).sum()), **facts)
    twice = _repeated(made.keys)
    if twice:
        raise UserError("one prompt, condition and sample twice", where=name, got=", ".join(twice[:3]))
    if not finite.any():
        raise UserError("no row has a finite vector", where=name, got=f"{rows} rows")
    return made.chosen(finite)


def _ids(columns: Mapping[str, Sequence[Any]], rows: int) -> list[str]:
    """core/factor values, with #variant where there are any."""
    parts = [columns[name] for name in columns if name == "core" or name not in _NOT_FACTORS]
    variants = columns.get("variant", [""] * rows)
    return ["/".join(map(str, row)) + (f"#{v}" if v != "" else "") for *row, v in zip(*parts, variants, strict=True)]


def _repeated(names: Sequence[str]) -> list[str]:
    seen: set[str] = set()
    twice: dict[str, None] = {}
    for name in names:
        if name in seen:
            twice[name] = None
        seen.add(name)
    return list(twice)


def _typed(texts: Sequence[str]) -> list[Any]:
    """Whole numbers, numbers, or the texts."""
    for kind in (int, float):
        try:
            return [None if text == "" else kind(text) for text in texts]
        except (TypeError, ValueError):
            continue
    return [None if text == "" else text for text in texts]


def _site(sites: Sequence[str], wanted: str | None, name: str) -> str:
    if wanted is None and len(sites) == 1:
        return sites[0]
    if wanted in sites:
        return str(wanted)
    close = nearest(wanted or "", list(sites), n=1)
    raise UserError(
        f"{name} holds no vectors of {wanted}" if wanted else f"{name} holds several sites",
        expected=", ".join(sites) or "a site",
        got=wanted,
        fix=f"did you mean {close[0]}?" if close else "say --site",
        code="unknown_site",
    )
