"""From parts by row to the folder that is left: rows with texts and labels, entries by feature, write directions.

1. parts that were captured are read by feature in bounded memory
2. with `per_site`, features of each site go through the rank test of `inspect` on the discover half, with its default
   settings and no condition; the n with the largest |z| stay, and the header carries the hash of that split
3. rows are written with what is known of their prompts, entries in the order of features, then the table of features
   and the directions that features write
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from radiograph.core import Refusal
from radiograph.core.shapes import Float64

if TYPE_CHECKING:
    from radiograph.methods.records._export.fed import Fed, Marked
    from radiograph.sources import Features
    from radiograph.store.records import Block, Header, Records

DIRECTIONS = "directions.safetensors"


@dataclass(frozen=True, eq=False)
class Named:
    """What the features of all sources are called, a line each."""

    ids: list[str]
    site: list[str]
    dictionary: list[str | None]
    label: list[str | None]

    @classmethod
    def of(cls, parts: Sequence[Features]) -> Named:
        """Side by side, in the order of the sources."""
        return cls(
            ids=[name for part in parts for name in part.ids],
            site=[part.site for part in parts for _ in range(len(part))],
            dictionary=[part.dictionary_sha256 for part in parts for _ in range(len(part))],
            label=[part.labels.get(number) for part in parts for number in part.numbers.tolist()],
        )


def write_sorted(
    folder: Path,
    captured: Records,
    fed: Fed,
    made: Marked,
    parts: Sequence[Features],
    *,
    chosen: NDArray[np.int64] | None,
    selected: str | None,
    private: bool,
    model_sha256: str,
) -> Header:
    """Write the folder; `chosen` are ascending numbers of the features that stay, None for all."""
    import polars as pl

    from radiograph.methods.records._export.fed import row_columns
    from radiograph.store.records import SortedWriter

    named = Named.of(parts)
    stays = np.arange(len(named.ids)) if chosen is None else chosen
    hashes = {named.dictionary[number] for number in stays.tolist()}
    header = captured.header.model_copy(
        update={
            "sites": tuple(dict.fromkeys(site for part in parts for site in part.codec.sites)),
            "dictionary_sha256": next(iter(hashes)) if len(hashes) == 1 else None,
            "value_unit": "raw" if len(parts) > 1 else getattr(parts[0].codec, "value_unit", "raw"),
            "selected": selected,
            "private": private,
            "features_sha256": None,
            "parts": (),
            "complete": False,
        }
    )
    writer = SortedWriter(folder, header)
    tokens: list[np.ndarray] = []
    for file in captured.files("rows"):
        table = row_columns(pl.read_parquet(file), fed, made)
        tokens.append(table["token"].to_numpy())
        writer.rows(table)
    token = np.concatenate(tokens)
    for block in captured.blocks():
        own = stays[(stays >= block.first) & (stays < block.first + block.features)] - block.first
        counts = np.diff(block.offsets)[own]
        offsets = np.concatenate([[0], np.cumsum(counts)])
        at = np.repeat(block.offsets[:-1][own] - offsets[:-1], counts) + np.arange(int(offsets[-1]))
        rows = block.rows[at]
        writer.values(offsets, rows, block.values[at], token[rows])
    pointer = write_writes(folder / DIRECTIONS, parts, stays, model_sha256, captured.header.tokenizer_sha256)
    kept = stays.tolist()
    return writer.finish(
        feature_id=[named.ids[n] for n in kept],
        site=[named.site[n] for n in kept],
        dictionary_sha256=[named.dictionary[n] for n in kept],
        label=[named.label[n] for n in kept],
        direction=pl.Series([pointer[n] for n in kept], dtype=pl.UInt32),
    )


def write_writes(
    path: Path, parts: Sequence[Features], stays: NDArray[np.int64], model_sha256: str, tokenizer_sha256: str | None
) -> list[int | None]:
    """Write directions of the features that stay, a tensor a site that is written, named like it; returns the row of
    every feature. Features that write nothing, or several sites, have none.
    """
    from radiograph.store.directions import DirectionsHeader, MatrixRecord, write_directions

    pointer: list[int | None] = [None] * sum(map(len, parts))
    rows: dict[str, list[np.ndarray]] = {}
    names: dict[str, list[str]] = {}
    base = 0
    for part in parts:
        own = stays[(stays >= base) & (stays < base + len(part))] - base
        if len(part.codec.targets) == 1 and len(own):
            (site,) = part.codec.targets
            written = part.write(part.numbers[own])
            live = np.linalg.norm(written.astype(np.float64), axis=1) > 0
            held, called = rows.setdefault(site, []), names.setdefault(site, [])
            first = len(called)
            for place, number in enumerate(own[live].tolist()):
                pointer[base + number] = first + place
            held.append(written[live])
            called += [part.address(int(number)) for number in part.numbers[own][live]]
        base += len(part)
    tensors = {site: np.concatenate(held) for site, held in rows.items() if sum(map(len, held))}
    if tensors:
        header = DirectionsHeader(
            tensors={site: MatrixRecord(site=site, names=tuple(names[site])) for site in tensors},
            model_sha256=model_sha256,
            tokenizer_sha256=tokenizer_sha256,
            scale="raw",
            provenance={"codecs": {part.site: part.codec.hash for part in parts}},
        )
        write_directions(path, header, tensors)
    return pointer


def per_site(
    captured: Records, parts: Sequence[Features], fed: Fed, made: Marked, number: int, seed: int
) -> NDArray[np.int64]:
    """The features of each source with the largest |z| on the discover half; fewer where fewer fire there.

    Raises:
        Refusal: what a study refuses; `few_active`, no feature of any site can be screened.
    """
    z = _screened(captured, fed, made, seed)
    out: list[np.ndarray] = []
    base = 0
    for part in parts:
        own = np.abs(z[base : base + len(part)])
        order = np.lexsort((np.arange(len(own)), -np.where(np.isnan(own), -1, own)))[:number]
        out.append(base + np.sort(order[~np.isnan(own[order])]))
        base += len(part)
    kept = np.concatenate(out)
    if not len(kept):
        raise Refusal("few_active", "no feature fires often enough on the discover half to be chosen")
    return kept


def _screened(captured: Records, fed: Fed, made: Marked, seed: int) -> Float64[np.ndarray, " feature"]:
    """Z of every feature on the labelled rows of discover, as they were captured; NaN for those that fire too rarely to
    be among 50 candidates.
    """
    import polars as pl

    from radiograph.methods.records._export.fed import row_columns
    from radiograph.numerics.association import Settings, columns, screen, study

    table = pl.concat(
        row_columns(pl.read_parquet(file), fed, made).select("prompt_id", "group_id", "label", "split")
        for file in captured.files("rows")
    )
    labelled = table["label"].is_not_null().to_numpy()
    place = np.where(labelled, np.cumsum(labelled) - 1, -1)
    kept = table.filter(pl.Series(labelled))
    features = captured.header.features
    prepared = study(
        kept["group_id"].to_numpy(),
        kept["label"].cast(pl.Int64).to_numpy(),
        (kept["split"] == "discover").to_numpy(),
        features=features,
        settings=Settings(seed=seed),
    )
    z = np.full(features, np.nan)
    for block in captured.blocks():
        found = screen(prepared, columns(**_labelled(block, place, len(kept))))
        own = np.where(found.eligible, found.z, np.nan)
        z[block.first : block.first + block.features] = own
    return z


def _labelled(block: Block, place: NDArray[np.int64], rows: int) -> dict[str, Any]:
    feature = np.repeat(np.arange(block.features), np.diff(block.offsets))
    at = place[block.rows]
    kept = at >= 0
    return {
        "unit": at[kept],
        "feature": feature[kept],
        "value": block.values[kept].astype(np.float64),
        "features": block.features,
        "units": rows,
    }
