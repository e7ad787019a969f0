"""Records to disk, part by part: any number of processes, each part whole or not at all.

1. a part's tables are written beside their place, synced and renamed; its record `NNNNN.json` comes last
2. statistics of features are kept per part, and merged at the end in the order of the parts (Chan, Golub and LeVeque
   1983), so nothing depends on who wrote which
3. features get their addresses from the header (`SITE@DICT8#n`, of units `SITE[n]`), or from a table that is handed in
The memory of a writer is that of one part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from radiograph.core import FormatError, UserError
from radiograph.core.shapes import Float, Int
from radiograph.store._atomic import PARTIAL, write_table
from radiograph.store.records._features import features_table
from radiograph.store.records._header import FEATURES, HEADER, TABLES, Header, Part
from radiograph.store.shards._index import read_json, write_document

if TYPE_CHECKING:
    import polars

ROW_GROUP = 1_000_000


@dataclass(frozen=True, eq=False)
class Entries:
    """Codes of some rows, compressed by row: row r of the part owns entries `offsets[r]:offsets[r + 1]`."""

    features: Int[np.ndarray, " entry"]
    values: Float[np.ndarray, " entry"]
    offsets: Int[np.ndarray, " offset"]


def begin_records(folder: Path, header: Header) -> None:
    """Create the folder with a header that is not complete; again where the same run goes on.

    Raises:
        UserError: the folder holds other records; names the first field that differs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / HEADER
    if path.exists():
        stored = Header.read(read_json(path), where=str(path))
        ours, theirs = (_identity(h) for h in (stored, header))
        for name in ours:
            if ours[name] != theirs[name]:
                raise UserError(
                    f"{folder} holds other records: {name} differs",
                    expected=str(ours[name]),
                    got=str(theirs[name]),
                    where=f"{path}: {name}",
                    fix="write to a new folder",
                    code="another_run",
                )
        return
    write_document(path, header)


def committed_parts(folder: Path, spec_sha256: str) -> dict[int, Part]:
    """Parts that need not be made again, by number. Unfinished files are deleted."""
    for path in folder.rglob(f"*{PARTIAL}"):
        path.unlink()
    found: dict[int, Part] = {}
    for path in sorted(folder.glob("[0-9]*.json")):
        part = Part.read(read_json(path), where=str(path))
        files = {table: _table(folder, table, part.number) for table in TABLES}
        whole = all(f.is_file() and f.stat().st_size == part.bytes[t] for t, f in files.items())
        if whole and part.spec_sha256 == spec_sha256:
            found[part.number] = part
    return found


def write_part(folder: Path, number: int, rows: polars.DataFrame, entries: Entries, spec_sha256: str) -> Part:
    """Write and commit one part.

    Args:
        folder: that `begin_records` made.
        number: place among the parts; rows of a later part have larger numbers.
        rows: a line a row, with at least `row` (ascending) and `token`.
        entries: codes of these rows in the same order, features ascending in each.
        spec_sha256: hash of everything that decides the part's bytes.

    Raises:
        UserError: rows and entries do not fit, or entries of a row are not ascending.
        RadiographError: the disk refuses.
    """
    import polars

    count = np.diff(entries.offsets)
    _check(rows, entries, count)
    owner = np.repeat(np.arange(len(rows)), count)
    values = polars.DataFrame(
        {
            "row": rows["row"].to_numpy().astype(np.uint32)[owner],
            "token": rows["token"].to_numpy().astype(np.int32)[owner],
            "feature": entries.features.astype(np.uint32),
            "value": entries.values.astype(np.float32),
        }
    )
    tables = {"rows": rows, "values": values, "statistics": _statistics(entries)}
    size: dict[str, int] = {}
    sha256: dict[str, str] = {}
    for name, table in tables.items():
        path = _table(folder, name, number)
        path.parent.mkdir(parents=True, exist_ok=True)
        size[name], sha256[name] = write_table(path, table, row_group=ROW_GROUP)
    part = Part(
        number=number,
        rows=len(rows),
        entries=len(values),
        bytes=size,
        sha256=sha256,
        spec_sha256=spec_sha256,
    )
    write_document(folder / f"{number:05d}.json", part)
    return part


def finish_records(folder: Path, parts: int, spec_sha256: str, names: polars.DataFrame | None = None) -> Header:
    """Merge the features' statistics and complete the header.

    Args:
        folder: that `begin_records` made.
        parts: how many were to be written.
        spec_sha256: as given to `write_part`.
        names: a line a feature in the order of their numbers, with any of `feature_id`, `site`, `dictionary_sha256`,
            `label`, `direction`, `extra`: where several sources of features stand side by side.

    Raises:
        FormatError: a part is missing, or of another run.
    """
    header = Header.read(read_json(folder / HEADER), where=str(folder / HEADER))
    if header.complete:
        return header
    found = committed_parts(folder, spec_sha256)
    for number in range(parts):
        if number not in found:
            raise FormatError("a part is missing", where=str(folder / f"{number:05d}.json"), expected=f"{parts} parts")
    ordered = tuple(found[number] for number in range(parts))
    _, sha256 = write_table(folder / FEATURES, _named(_merged(folder, ordered, header), names))
    totals = {"rows": sum(p.rows for p in ordered), "entries": sum(p.entries for p in ordered)}
    complete = header.model_copy(update={**totals, "features_sha256": sha256, "parts": ordered, "complete": True})
    write_document(folder / HEADER, complete)
    return complete


def _identity(header: Header) -> dict[str, Any]:
    return header.model_dump(mode="json", exclude={"rows", "entries", "features_sha256", "parts", "complete"})


def _table(folder: Path, name: str, number: int) -> Path:
    return folder / name / f"{number:05d}.parquet"


def _check(rows: polars.DataFrame, entries: Entries, count: NDArray[np.int64]) -> None:
    features = entries.features.astype(np.int64)
    same_row = np.ones(len(features), bool)
    same_row[entries.offsets[:-1][count > 0]] = False
    falling = np.flatnonzero(same_row & (np.diff(features, prepend=-1) <= 0))
    if len(count) != len(rows) or entries.offsets[-1] != len(features) or len(features) != len(entries.values):
        raise UserError("rows and entries do not fit", expected=f"{len(rows)} rows", got=f"{len(count)} rows")
    if len(falling):
        raise UserError("the features of a row do not ascend", where=f"entry {int(falling[0])}")
    if not np.isfinite(entries.values).all():
        at = int(np.flatnonzero(~np.isfinite(entries.values))[0])
        raise UserError("a value is not finite", where=f"entry {at}, feature {int(features[at])}", code="not_finite")


def _statistics(entries: Entries) -> polars.DataFrame:
    """Of each feature that fired: how often, mean, squared deviations about it, maximum."""
    import polars

    size = int(entries.features.max()) + 1 if len(entries.features) else 0
    values = entries.values.astype(np.float64)
    count = np.bincount(entries.features, minlength=size)
    live = np.flatnonzero(count)
    mean = np.bincount(entries.features, values, size)[live] / count[live]
    place = np.zeros(size, np.int64)
    place[live] = np.arange(len(live))
    away = np.square(values - mean[place[entries.features]])
    largest = np.full(size, -np.inf)
    np.maximum.at(largest, entries.features, values)
    return polars.DataFrame(
        {
            "feature": live.astype(np.uint32),
            "n_active": count[live].astype(np.int64),
            "mean": mean,
            "deviations": np.bincount(entries.features, away, size)[live],
            "maximum": largest[live],
        }
    )


def _merged(folder: Path, parts: tuple[Part, ...], header: Header) -> polars.DataFrame:
    import polars

    features, site = header.features, "+".join(header.sites)
    prefix = site if header.dictionary_sha256 is None else f"{site}@{header.dictionary_sha256[:8]}"
    count, mean, away = np.zeros(features, np.int64), np.zeros(features), np.zeros(features)
    largest = np.full(features, -np.inf)
    for part in parts:
        columns: Mapping[str, Any] = polars.read_parquet(_table(folder, "statistics", part.number)).to_dict()
        at, n, m, d, top = (
            columns[name].to_numpy() for name in ("feature", "n_active", "mean", "deviations", "maximum")
        )
        both, step = count[at] + n, m - mean[at]
        away[at] += d + np.square(step) * (count[at] * n / both)
        mean[at] += step * (n / both)
        largest[at] = np.maximum(largest[at], top)
        count[at] = both
    live = count > 0
    return features_table(
        feature_id=[f"{prefix}#{n}" if header.dictionary_sha256 else f"{site}[{n}]" for n in range(features)],
        site=site,
        dictionary_sha256=header.dictionary_sha256,
        n_present=count,
        n_active=count,
        maximum=np.where(live, largest, np.nan),
        mean_active=np.where(live, mean, np.nan),
        sd=np.where(live, np.sqrt(away / np.maximum(count, 1)), np.nan),
    )


def _named(table: polars.DataFrame, names: polars.DataFrame | None) -> polars.DataFrame:
    if names is None:
        return table
    if len(names) != len(table) or not set(names.columns) <= set(table.columns):
        raise UserError(
            "names and features do not fit",
            expected=f"{len(table)} features, columns of {', '.join(table.columns)}",
            got=f"{len(names)} lines of {', '.join(names.columns)}",
        )
    return table.with_columns(names[name].cast(table.schema[name]) for name in names.columns)
