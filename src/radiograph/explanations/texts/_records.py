"""Stored records as texts with features, and back: what was reserved is kept as records in a bundle.

Rows of level `token` with `text` and `offsets` (first and last character of the token) are read; a text is the rows of
one prompt in the order of their tokens. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from radiograph.core import Refusal, UserError
from radiograph.explanations.texts._passages import Material, Passages
from radiograph.numerics.explanations import csr

if TYPE_CHECKING:
    import polars

    from radiograph.store.records import Header, Records

_MOST_ENTRIES = 200_000_000


def passages_of(records: Records) -> tuple[Passages, NDArray[np.int64]]:
    """The texts of records, and the token of each row number.

    Raises:
        Refusal: `no_tokens`, rows are prompts; `no_text`, no texts or no places of the tokens in them.
    """
    import polars as pl

    if records.header.level != "token":
        raise Refusal(
            "no_tokens",
            "these records hold a value a prompt, and not which tokens a feature fires on",
            fix="radiograph records export --level token",
        )
    rows = records.rows.collect()
    known = {"text", "offsets"} <= set(rows.columns)
    if known:
        # A text may stand on one row of its prompt alone.
        rows = rows.with_columns(pl.coalesce("text", pl.col("text").drop_nulls().first().over("prompt_id")))
    if not known or rows["text"].null_count() or rows["offsets"].null_count():
        raise Refusal(
            "no_text",
            "these records do not say what their tokens look like",
            expected="the columns text and offsets on every row",
            got=", ".join(rows.columns),
            fix="radiograph records export writes them",
        )
    rows = rows.with_columns(pl.coalesce("group_id", "prompt_id").alias("group_id"))
    order = rows.select(pl.col("prompt_id").rank("dense"), "token").to_numpy()
    rows = rows[np.lexsort((order[:, 1], order[:, 0]))]
    prompt = rows["prompt_id"]
    fresh = (prompt != prompt.shift()).fill_null(True).to_numpy()
    starts = np.flatnonzero(fresh).astype(np.int64)
    pieces, tokens = np.unique(np.array(_pieces(rows), dtype=str), return_inverse=True)
    first = rows[starts]
    made = Passages(
        tuple(map(str, pieces)),
        tokens.reshape(-1).astype(np.int64),
        starts,
        tuple(first["prompt_id"].to_list()),
        tuple(first["group_id"].to_list()),
    )
    place = np.full(int(rows["row"].max()) + 1 if len(rows) else 0, -1, np.int64)  # type: ignore[arg-type]
    place[rows["row"].to_numpy().astype(np.int64)] = np.arange(len(rows))
    return made, place


def material_of(records: Records, features: Sequence[int] | None = None) -> Material:
    """Texts and features of records.

    Args:
        records: of level `token`, with texts.
        features: numbers of those that are wanted, ascending; None: all.

    Raises:
        Refusal: see `passages_of`; `partial_rows` where a missing entry was not measured.
    """
    if records.header.absent == "missing":
        raise Refusal("partial_rows", "in these records a missing value was not measured, so silence is not known")
    passages, place = passages_of(records)
    table = records.features
    wanted = np.arange(len(table)) if features is None else np.array(features, np.int64)
    if len(wanted) and wanted[-1] >= len(table):
        raise UserError(f"no feature {wanted[-1]}", expected=f"0 to {len(table) - 1}", code="unknown_feature")
    at = np.full(len(table), -1, np.int64)
    at[wanted] = np.arange(len(wanted))
    rows: list[Any] = []
    columns: list[Any] = []
    values: list[Any] = []
    for block in records.blocks():
        owner = at[block.first + np.repeat(np.arange(block.features), np.diff(block.offsets))]
        keep = (owner >= 0) & (block.values > 0)
        rows.append(owner[keep])
        columns.append(place[block.rows[keep].astype(np.int64)])
        values.append(block.values[keep].astype(np.float64))
    joined = [np.concatenate(parts) if parts else np.empty(0) for parts in (values, rows, columns)]
    shape = (len(wanted), len(passages.tokens))
    fires = csr(joined[0], joined[1].astype(np.int64), joined[2].astype(np.int64), shape)
    ids = table["feature_id"].to_list()
    return Material(passages, fires, wanted.astype(np.int64), tuple(ids[n] for n in wanted))


def write_material(folder: Path, material: Material, header: Header) -> Header:
    """Write texts and features as records in the order of features; `header` lacks the counts.

    All values above 0 are written, weak ones too. Features are numbered anew; their id says which they are.
    """
    import polars as pl

    from radiograph.store.records import SortedWriter

    passages = material.passages
    lengths = passages.ends - passages.starts
    place = np.arange(len(passages.tokens)) - np.repeat(passages.starts, lengths)
    words = [passages.pieces[n] for n in passages.tokens]
    size = np.array([len(word) for word in words], np.int64)
    ends = np.cumsum(size)
    begun = np.repeat((ends - size)[passages.starts], lengths) if len(words) else ends
    texts = ["".join(words[a:b]) for a, b in zip(passages.starts, passages.ends, strict=True)]
    owner = passages.text_of
    rows = pl.DataFrame(
        {
            "row": np.arange(len(words), dtype=np.uint32),
            "token": place.astype(np.int32),
            "prompt_id": pl.Series(passages.names, dtype=pl.String).gather(owner),
            "group_id": pl.Series(passages.groups, dtype=pl.String).gather(owner),
            "text": pl.Series(texts, dtype=pl.String).gather(owner),
            "offsets": pl.Series(np.stack([ends - size - begun, ends - begun], 1).tolist(), dtype=pl.List(pl.UInt32)),
        }
    )
    writer = SortedWriter(folder, header)
    writer.rows(rows)
    held = material.values
    held.sort_indices()
    writer.values(held.indptr.astype(np.int64), held.indices.astype(np.uint32), held.data.astype(np.float32))
    return writer.finish(feature_id=list(material.ids))


def _pieces(rows: polars.DataFrame) -> list[str]:
    """The text of each token, with the space before it."""
    texts = rows["text"].to_list()
    pieces: list[str] = []
    for text, (first, last) in zip(texts, _bounds(rows), strict=True):
        if not 0 <= first <= last <= len(text):
            raise Refusal(
                "no_text", "these records do not say where their tokens stand in their texts", got=f"{first} to {last}"
            )
        space = " " if first > 0 and text[first - 1].isspace() else ""
        pieces.append(space + text[first:last])
    return pieces


def _bounds(rows: polars.DataFrame) -> list[tuple[int, int]]:
    """Offsets may be pairs or objects; both say where a token begins and ends."""
    return [tuple(v.values()) if isinstance(v, dict) else tuple(v) for v in rows["offsets"].to_list()]  # type: ignore[misc]
