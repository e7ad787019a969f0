"""Records as JSON Lines, as other tools read them: a header that says what absence means, then a line a row.

What is known of a feature stands in the `feature_metadata` of the first row on which it fires. Rows are written in
their order, a range of them at a time; memory is that of a range. Equal records give equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from radiograph.store._atomic import write_whole
from radiograph.store.records import FACTOR, MEMORY, Records, by_range, ranges

if TYPE_CHECKING:
    from radiograph.store.records._blocks import Triplets

_ROW = {"text": "text", "n_tokens": "n_tokens", "score": "criterion_score", "label": "label", "kind": "kind"}
_ENTRY_BYTES = 40
"""For the message of a full disk."""


def write_jsonl(records: Records, path: Path, *, memory: int = MEMORY // 4) -> str:
    """Write records as one file of JSON Lines; returns its SHA-256.

    Raises:
        RadiographError: the disk refuses.
    """
    return write_whole(path, _lines(records, memory), records.header.entries * _ENTRY_BYTES)


def _lines(records: Records, memory: int) -> Iterator[bytes]:
    import polars as pl
    from pydantic_core import to_json

    header = records.header.model_dump(mode="json", exclude={"parts", "features_sha256", "complete", "order"})
    yield to_json(header) + b"\n"
    ids = records.features["feature_id"].to_list()
    said = _said(records)
    counts = _per_row(records)
    bounds = ranges(counts, memory)
    found = by_range(_by_row(records), bounds)
    for (first, last), (row, feature, value) in zip(pairwise(bounds.tolist()), found, strict=True):
        offsets = np.searchsorted(row, np.arange(first, last + 1)).tolist()
        names, values = [ids[n] for n in feature.tolist()], value.tolist()
        table = records.rows.filter(pl.col("row").is_between(first, last - 1)).sort("row").collect()
        for line in table.iter_rows(named=True):
            start, end = offsets[line["row"] - first : line["row"] - first + 2]
            own = dict(zip(names[start:end], values[start:end], strict=True))
            new = {name: said.pop(name) for name in own if name in said}
            yield to_json(_row(records.header.model.ref, line, own, new)) + b"\n"


def _row(model: str, line: dict[str, Any], features: dict[str, float], new: dict[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {"model": model, "prompt_id": line["prompt_id"], "group_id": line.get("group_id")}
    if line["token"] >= 0:
        out["token"] = line["token"]
    out |= {key: line[name] for name, key in _ROW.items() if line.get(name) is not None}
    if line.get("split") is not None:
        out["split"] = line["split"]
    factors = {name.removeprefix(FACTOR): v for name, v in line.items() if name.startswith(FACTOR) and v is not None}
    if factors:
        out["factors"] = factors
    if line.get("extra"):
        out |= json.loads(line["extra"])
    out["features"] = features
    return out | ({"feature_metadata": new} if new else {})


def _said(records: Records) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    table = records.features.select("feature_id", "label", "extra")
    for name, label, extra in table.iter_rows():
        one = ({"label": label} if label is not None else {}) | (json.loads(extra) if extra else {})
        if one:
            found[name] = one
    return found


def _per_row(records: Records) -> NDArray[np.int64]:
    """Entries of each row number; numbers that are no row have none."""
    import polars as pl

    last = records.rows.select(pl.col("row").max()).collect().item()
    counts = np.zeros(0 if last is None else int(last) + 1, np.int64)
    for row, _, _ in _by_row(records):
        counts += np.bincount(row, minlength=len(counts))
    return counts


def _by_row(records: Records) -> Iterator[Triplets]:
    for feature, row, value in records.triplets():
        yield row, feature, value
