"""Activation records in JSON Lines, turned once into `radiograph.records/1`.

1. the file is hashed; if the same bytes were turned before with the same options, that folder is opened
2. lines are parsed a chunk at a time (`_parse`) and collected (`_draft`); mistakes are counted, five of them shown
3. rows are ordered by (prompt id, token), features by their ids (numbers inside by value), and neither by the file
4. entries are sorted by (feature, row), a range of features at a time, and written with their statistics
Several lines of one (prompt id, token) are one row. Without header a missing entry is a silent feature, so zeros are
left out and a feature that never fires does not exist, whether the file writes zeros or not.

Refuses: a model that no line names; two values for one (row, feature), unless told to take the larger or the sum; two
texts, scores, labels or groups where there can be one; rows of tokens mixed with rows of prompts.
Memory: about `memory`, and some 100 bytes a line.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from radiograph.core import FeatureAddress, FormatError, UserError
from radiograph.core.shapes import UInt32
from radiograph.evidence import canonical_json, check_schema, document_sha256
from radiograph.store._atomic import PARTIAL
from radiograph.store._bundle import untouched
from radiograph.store._hashing import file_sha256
from radiograph.store.foreign._draft import Draft
from radiograph.store.foreign._names import natural, no_such_model
from radiograph.store.foreign._parse import parse
from radiograph.store.foreign._rows import Placed, place_rows, row_tables
from radiograph.store.lines import Lines, Mistakes, read_lines, says_private
from radiograph.store.records import (
    FOLDER,
    HEADER,
    MEMORY,
    Header,
    Records,
    RecordsModel,
    SortedWriter,
    by_range,
    open_records,
    ranges,
)

if TYPE_CHECKING:
    from radiograph.store.records._blocks import Triplets

VERSION = 2
"""Of what this file does: another number turns every file anew."""
Duplicates = Literal["max", "sum"]
_TAKEN = (
    "absent",
    "kept_per_row",
    "level",
    "pool",
    "tokenizer_sha256",
    "dictionary_sha256",
    "value_unit",
    "selected",
    "sites",
)
_PRESELECTED = "signed_selection_correlation"


def read_records(
    path: Path,
    cache: Path,
    *,
    model: str | None = None,
    duplicates: Duplicates | None = None,
    n_layers: int | None = None,
    memory: int = MEMORY,
) -> Records:
    """Records of a folder, a bundle, or a file of JSON Lines (`.gz` and `.zst` too).

    Args:
        path: what to read.
        cache: folder in which files that were turned are kept.
        model: the model whose records are wanted; None where there is only one.
        duplicates: of several values for one (row, feature), the larger, or their sum; None refuses them.
        n_layers: blocks of the model, where known: `L6:D373` then has a site.
        memory: bytes for entries.

    Raises:
        UserError: nothing there, no records of the model, or a run that did not end. FormatError: every mistake, with
            its line; a run that was changed.
    """
    for place in (path, path / FOLDER):
        if place.exists():
            untouched(place)
    if path.is_dir():
        records = open_records(path)
        held = records.header.model.ref
        if model is not None and model not in (held, records.header.model.sha256):
            raise no_such_model(path.name, model, [held])
        return records
    if not path.is_file():
        raise UserError(f"{path.name} is not a file", expected="a folder of records, or JSON Lines", code="not_found")
    options = {"version": VERSION, "model": model, "duplicates": duplicates, "n_layers": n_layers}
    folder = cache / "records" / document_sha256({"input": file_sha256(path), **options})[:32]
    if not (folder / HEADER).is_file():
        _turn(path, folder, model, duplicates, n_layers, memory)
    return open_records(folder)


def _turn(
    path: Path, folder: Path, model: str | None, duplicates: Duplicates | None, n_layers: int | None, memory: int
) -> None:
    """Write the folder, whole or not at all; another process may do the same at the same time."""
    working = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}{PARTIAL}")
    working.mkdir(parents=True)
    try:
        mistakes = Mistakes(path.name)
        head, draft = _collected(path, working, model, memory, mistakes)
        placed = place_rows(draft, mistakes)
        mistakes.raise_if_any()
        _write(working / "records", head, draft, placed, duplicates, n_layers, memory)
        try:
            (working / "records").rename(folder)
        except OSError:
            if not (folder / HEADER).is_file():
                raise
    finally:
        shutil.rmtree(working, ignore_errors=True)


def _collected(
    path: Path, working: Path, model: str | None, memory: int, mistakes: Mistakes
) -> tuple[dict[str, Any], Draft]:
    head: dict[str, Any] | None = None
    draft: Draft | None = None
    for lines in read_lines(path):
        if draft is None:
            head, lines = _header(lines, path.name)
            draft = Draft(working, model, head.get("absent") == "missing", memory, mistakes)
        for found in parse(lines, mistakes):
            draft.add(found)
    if draft is None or head is None or (not draft.lines and not draft.models):
        mistakes.raise_if_any()
        raise FormatError(f"{path.name} holds no records", where=path.name, expected="an object with features a line")
    if not draft.lines:
        mistakes.raise_if_any()
        raise no_such_model(path.name, str(model), sorted(draft.models))
    return head, draft


def _header(lines: Lines, name: str) -> tuple[dict[str, Any], Lines]:
    """What the first line says of the file, where it is a header, and the lines after it."""
    from pydantic_core import from_json

    if b'"schema"' not in lines.texts[0]:
        return {}, lines
    try:
        head = from_json(lines.texts[0], allow_inf_nan=False)
    except ValueError:
        return {}, lines
    if not isinstance(head, dict) or "schema" not in head:
        return {}, lines
    check_schema(head["schema"], Header.SCHEMA, f"{name}:{lines.numbers[0]}")
    return head, Lines(lines.texts[1:], lines.numbers[1:])


def _write(
    folder: Path,
    head: dict[str, Any],
    draft: Draft,
    placed: Placed,
    duplicates: Duplicates | None,
    n_layers: int | None,
    memory: int,
) -> None:
    names = list(draft.codes)
    alive = np.flatnonzero(draft.counts)
    order = np.array(sorted(alive.tolist(), key=lambda code: natural(names[code])), np.int64)
    if not len(order):
        raise UserError("no feature fires on any row", expected="values that are not zero", code="no_features")
    number = np.zeros(len(names), np.uint32)
    number[order] = np.arange(len(order), dtype=np.uint32)
    ids = [names[code] for code in order.tolist()]
    facts = [draft.facts.of.get(name, {}) for name in ids]
    addresses = [FeatureAddress.parse(name, n_layers) for name in ids]
    sites = [_site(address, said) for address, said in zip(addresses, facts, strict=True)]
    writer = SortedWriter(folder, _header_of(head, draft, placed, sites))
    for table in row_tables(draft, placed):
        writer.rows(table)
    bounds = ranges(draft.counts[order], memory)
    found = by_range(_triplets(draft, number, placed.row), bounds)
    for first, last, (feature, row, value) in zip(bounds[:-1], bounds[1:], found, strict=True):
        feature, row, value = _single((feature, row, value), duplicates, ids, placed, draft.mistakes.name)
        offsets = np.searchsorted(feature, np.arange(first, last + 1))
        writer.values(offsets, row, value, placed.token[row] if placed.tokens else -1)
    whole = str(head.get("dictionary_sha256") or "")
    writer.finish(
        feature_id=ids,
        site=sites,
        dictionary_sha256=[
            whole if address is not None and address.dictionary and whole.startswith(address.dictionary) else None
            for address in addresses
        ],
        label=[said["label"] if isinstance(said.get("label"), str) else None for said in facts],
        extra=[_extra(said) for said in facts],
    )


def _triplets(draft: Draft, number: NDArray[np.uint32], row: NDArray[np.uint32]) -> Iterator[Triplets]:
    for part in draft.entries():
        yield number[part["code"]], row[part["line"]], part["value"].copy()


def _single(
    found: Triplets, duplicates: Duplicates | None, ids: list[str], placed: Placed, name: str
) -> tuple[UInt32[np.ndarray, " entry"], UInt32[np.ndarray, " entry"], NDArray[np.float32]]:
    """One value for each (row, feature)."""
    feature, row, value = found
    twice = (feature[1:] == feature[:-1]) & (row[1:] == row[:-1])
    if not twice.any():
        return found
    if duplicates is None:
        mistakes = Mistakes(name)
        for place in np.flatnonzero(twice).tolist():
            lines = placed.lines_of(int(row[place]))
            on = f"on lines {lines[0]} and {lines[1]}" if len(lines) > 1 else "on one line"
            what = f"{ids[int(feature[place])]!r} of {placed.name_of(int(row[place]))} has two values, {on}"
            mistakes.add(lines[0], f"{what}; --duplicates max or sum takes both")
        mistakes.raise_if_any()
    starts = np.flatnonzero(np.concatenate([[True], ~twice]))
    merge = np.maximum if duplicates == "max" else np.add
    merged = merge.reduceat(value.astype(np.float64), starts).astype(np.float32)
    return feature[starts], row[starts], merged


def _header_of(head: dict[str, Any], draft: Draft, placed: Placed, sites: list[str | None]) -> Header:
    given = head.get("model")
    said: dict[str, Any] = given if isinstance(given, dict) else {}
    model = RecordsModel(
        ref=next(iter(draft.models)) if draft.model is None else draft.model, sha256=said.get("sha256")
    )
    fields: dict[str, Any] = {
        "model": model.model_dump(),
        "tokenizer_sha256": None,
        "dictionary_sha256": None,
        "level": "token" if placed.tokens else "prompt",
        "sites": sorted({site for site in sites if site is not None}),
        "preselected": any(_PRESELECTED in known for known in draft.facts.of.values())
        or head.get("preselected") is True,
        "features": 0,
        "order": "feature",
        "private": draft.private or says_private(head),
        "vanished": {name: draft.vanished[code] for name, code in draft.codes.items() if code in draft.vanished},
    }
    fields |= {key: head[key] for key in _TAKEN if head.get(key) is not None}
    if fields["level"] != ("token" if placed.tokens else "prompt"):
        raise FormatError(
            f"{draft.mistakes.name}: its header says level {fields['level']}, its rows do not",
            expected="token in every row of level token, and in none of level prompt",
        )
    if (fields.get("absent") == "below") != (fields.get("kept_per_row") is not None):
        raise FormatError(f"{draft.mistakes.name}: absent below and kept_per_row belong together", where="header")
    return Header.read({"schema": Header.SCHEMA, **fields}, where=f"{draft.mistakes.name}:1")


def _site(address: FeatureAddress | None, said: dict[str, Any]) -> str | None:
    if address is not None:
        return address.site
    stated = said.get("site")
    return stated if isinstance(stated, str) else None


def _extra(said: dict[str, Any]) -> str | None:
    rest = {key: value for key, value in said.items() if key not in ("label", "site")}
    return canonical_json(rest).decode() if rest else None
