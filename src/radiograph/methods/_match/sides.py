"""One side of a comparison: features, their values on rows, and what else is known of them.

A side is a folder of records, a bundle that holds one (also in a step of it), activation records in JSON Lines, or a
feature dump. A dump has rows where its features name `prompt_ids`; a feature whose list is not that of most others
cannot be compared (`other_prompts`). With `absent: missing` only features measured on every row can (`partial_rows`).
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from radiograph.core import Context, Refusal, UserError
from radiograph.core.shapes import Bool, Float, Int64
from radiograph.evidence import document_sha256
from radiograph.evidence.matches import MatchSide

if TYPE_CHECKING:
    import polars

    from radiograph.store.foreign import Dump, Duplicates
    from radiograph.store.records import Records

Which = Literal["left", "right"]
_COLUMNS = ("prompt_id", "group_id", "text", "offsets", "score", "label", "split")


@dataclass(frozen=True, eq=False)
class Values:
    """Non-zero values of features on rows."""

    rows: polars.DataFrame
    """A line a row, in order: `prompt_id`, `group_id`, `token` (−1: a whole prompt), `text`, `offsets`, `label`,
    `split`; null where nothing is known."""
    feature: Int64[np.ndarray, " entry"]
    row: Int64[np.ndarray, " entry"]
    value: Float[np.ndarray, " entry"]
    level: Literal["prompt", "token"]
    pool: str | None
    absent: Literal["zero", "below", "missing"]


@dataclass(frozen=True, eq=False)
class Directions:
    """Write directions of some features of a side, all in one space."""

    features: Int64[np.ndarray, " row"]
    """Whose they are."""
    rows: Float[np.ndarray, "row width"]
    basis: str | None
    """The space; None: nothing says, so they are compared with none."""
    site: str | None = None
    """What is written, where known."""

    def places(self, features: int) -> Int64[np.ndarray, " feature"]:
        """The row of each of the side's features; −1 without."""
        found = np.full(features, -1, dtype=np.int64)
        found[self.features] = np.arange(len(self.features))
        return found


@dataclass(frozen=True, eq=False)
class Side:
    """Everything of one side, features in one order throughout."""

    record: MatchSide
    ids: list[str]
    labels: list[str | None]
    values: Values | None
    excluded: dict[str, Bool[np.ndarray, " feature"]] = field(default_factory=dict)
    """Features whose values cannot be compared, by reason."""
    writes: tuple[Directions, ...] = ()
    folder: Path | None = None
    """The bundle, where the side is one."""
    said: tuple[str, ...] = ()
    """What a reader should know of its values."""

    @property
    def comparable(self) -> Bool[np.ndarray, " feature"]:
        """Features whose values may be compared."""
        kept = np.ones(len(self.ids), dtype=bool)
        for out in self.excluded.values():
            kept &= ~out
        return kept


def read_side(
    which: Which, reference: str, ctx: Context, *, model: str | None, duplicates: Duplicates | None, shared: bool
) -> Side:
    """Read a side.

    Args:
        which: left or right.
        reference: what was given.
        ctx: resolves, confines and hashes it.
        model: whose records are wanted, where a file holds several.
        duplicates: of two values for one row and feature, the larger or the sum.
        shared: both models write into one residual stream, so directions of different models may be compared.

    Raises:
        UserError: nothing readable there, or a run that did not end. FormatError: every mistake, with its line; a run
            that was changed.
    """
    from radiograph.sources import Options
    from radiograph.store import finished, is_run

    path = ctx.locate(reference)
    options = Options(model=model, duplicates=duplicates)
    given: dict[str, Any] = {"ref": ctx.label(reference)}
    if path.is_file() and _is_dump(path):
        return _of_dump(ctx.features(f"jsonl:{path}", which, options).dump, given)
    bundle = finished(path).path if is_run(path) else None
    found = _records_in(path, ctx) if path.is_dir() else path
    records = ctx.features(f"records:{found}", which, options).records
    return _of_records(records, given, shared=shared, bundle=bundle)


def read_records_of(run: Path, model: str) -> Side:
    """The side that a step of this run left."""
    from radiograph.store.records import open_records

    return _of_records(open_records(_records_in(run, None)), {"ref": model}, shared=False, bundle=run)


def _records_in(folder: Path, ctx: Context | None) -> Path:
    """The records of a bundle: its own, those of a step, or those that it was given, while they are what they were."""
    from radiograph.store.records import HEADER

    places = [folder, folder / "records", *sorted(folder.glob("steps/*/records"))]
    found = next((place for place in places if (place / HEADER).is_file()), None)
    if found is None and ctx is not None:
        found = _given_to(folder, ctx)
    if found is None:
        raise UserError(
            f"no records in {folder.name}",
            expected="a folder of records, or a bundle of records export, harvest --dictionary or inspect",
            fix="give the records themselves: `radiograph records export MODEL …`",
            code="no_records",
        )
    return found


def _given_to(bundle: Path, ctx: Context) -> Path | None:
    from radiograph.store import MANIFEST, Bundle, file_sha256, folder_sha256

    if not (bundle / MANIFEST).is_file():
        return None
    for given in Bundle(bundle).manifest.inputs:
        if not given.role.startswith("features"):
            continue
        try:
            path = ctx.locate(given.ref)
        except UserError:
            continue
        if (folder_sha256(path) if path.is_dir() else file_sha256(path)) == given.sha256:
            return path
    return None


def _is_dump(path: Path) -> bool:
    """Whether the first object of a file is a feature and not a row."""
    from radiograph.store.lines import read_lines

    for lines in read_lines(path):
        for text in lines.texts:
            try:
                first = json.loads(text)
            except ValueError:
                return False
            return isinstance(first, dict) and "feature_id" in first and "features" not in first
    return False


def _of_dump(dump: Dump, given: dict[str, Any]) -> Side:
    import polars as pl

    table = dump.table
    ids, lists = table["feature_id"].to_list(), table["prompt_ids"].to_list()
    signatures = table["activation_signature"].to_list()
    known = Counter(tuple(prompts) for prompts in lists if prompts is not None)
    values, excluded = None, {}
    if known:
        most = max(known.values())
        prompts = list(min(one for one, count in known.items() if count == most))
        own = np.array([one is not None and list(one) == prompts for one in lists])
        places = np.flatnonzero(own)
        dense = np.array([signatures[place] for place in places.tolist()])
        feature, row = np.nonzero(dense)
        rows = pl.DataFrame({"prompt_id": prompts, "group_id": prompts, "token": [-1] * len(prompts)})
        values = Values(
            _typed(rows), places[feature].astype(np.int64), row.astype(np.int64), dense[feature, row], "prompt",
            None, "zero",
        )  # fmt: skip
        if not own.all():
            excluded = {"other_prompts": ~own}
    record = MatchSide(
        model=dump.model, sha256=dump.sha256, features=len(ids), absent="zero" if values else None, **given
    )
    writes = _signatures(table["decoder_signature"].to_list(), table["basis"].to_list())
    return Side(record, ids, table["label"].to_list(), values, excluded, writes)


def _signatures(rows: list[list[float] | None], bases: list[str | None]) -> tuple[Directions, ...]:
    """Decoder rows of a dump that names their basis; of one basis those of the width that most have."""
    found: list[Directions] = []
    for basis in sorted({basis for basis in bases if basis is not None}):
        own = [(n, row) for n, (row, one) in enumerate(zip(rows, bases, strict=True)) if one == basis and row]
        widths = Counter(len(row) for _, row in own)
        width = max(widths, key=lambda one: (widths[one], one), default=0)
        kept = [(n, row) for n, row in own if len(row) == width]
        if kept:
            found.append(Directions(np.array([n for n, _ in kept]), np.array([row for _, row in kept]), basis))
    return tuple(found)


def _of_records(records: Records, given: dict[str, Any], *, shared: bool, bundle: Path | None) -> Side:
    header = records.header
    rows = _rows(records)
    number = rows["row"].to_numpy().astype(np.int64)
    parts = list(records.triplets())
    feature, row, value = (np.concatenate([part[i] for part in parts] or [np.empty(0, np.uint32)]) for i in range(3))
    place = np.searchsorted(number, row)
    features = records.features.sort("feature")
    excluded: dict[str, np.ndarray] = {}
    if header.absent == "missing":
        present = np.bincount(feature, minlength=len(features))
        excluded["partial_rows"] = present < len(rows)
    model = header.model
    record = MatchSide(
        model=model.ref,
        sha256=document_sha256(header),
        model_sha256=model.sha256,
        tokenizer_sha256=header.tokenizer_sha256,
        features=len(features),
        absent=header.absent,
        **given,
    )
    ids = features["feature_id"].to_list()
    writes = _directions(records, ids, model.sha256, shared=shared)
    values = Values(
        rows.drop("row"), feature.astype(np.int64), place.astype(np.int64), value, header.level, header.pool,
        header.absent,
    )  # fmt: skip
    labels: list[str | None] = features["label"].to_list()
    return Side(record, ids, labels, values, excluded, writes, bundle, (*header.said_of(model.ref),))


def _rows(records: Records) -> polars.DataFrame:
    names = records.rows.collect_schema().names()
    wanted = ["row", "token", *(name for name in _COLUMNS if name in names)]
    rows = records.rows.select(wanted).collect().sort("row")
    if rows["row"].n_unique() < len(rows):
        raise UserError("two rows of records have one number", where=records.folder.name, code="duplicate_row")
    return _typed(rows)


def _typed(rows: polars.DataFrame) -> polars.DataFrame:
    """Every column that a side may have; labels from scores where a row has no label."""
    import polars as pl

    absent: dict[str, Any] = {"group_id": pl.String, "text": pl.String, "label": pl.Boolean, "split": pl.String}
    rows = rows.with_columns(pl.lit(None, kind).alias(name) for name, kind in absent.items() if name not in rows)
    if "score" in rows.columns:
        rows = rows.with_columns(pl.coalesce("label", pl.col("score") >= 0.5).alias("label"))
    return rows.with_columns(pl.coalesce("group_id", "prompt_id").alias("group_id"))


def _directions(records: Records, ids: list[str], model_sha256: str | None, *, shared: bool) -> tuple[Directions, ...]:
    """Write directions stored beside the records; the space is the model with the site, or the site where shared."""
    from radiograph.store.directions import open_directions

    near = (records.folder, records.folder.parent)
    path = next((place for folder in near if (place := folder / "directions.safetensors").is_file()), None)
    if path is None:
        return ()
    header, tensors = open_directions(path)
    model = "shared" if shared else header.model_sha256 or model_sha256
    place = {name: number for number, name in enumerate(ids)}
    found: list[Directions] = []
    for name, record in sorted(header.tensors.items()):
        own = [(place[one], row) for row, one in enumerate(record.names) if one in place]
        if own:
            features, rows = np.array(own, dtype=np.int64).T
            basis = None if model is None else f"{model}/{record.site}"
            found.append(Directions(features, np.atleast_2d(tensors[name])[rows], basis, record.site))
    return tuple(found)


def nothing_to_align(side: Side) -> Refusal:
    """A side without activations on named prompts."""
    return Refusal(
        "no_activations",
        f"{side.record.ref} says of no feature on which prompts it was active",
        fix="give records, or a dump whose features have activation_signature and prompt_ids",
    )
