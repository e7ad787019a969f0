"""Two sides on the units that both have: prompts, tokens, or the words of their texts.

1. prompts shared by id; different texts under one id are an error
2. `prompts`: one unit each. `tokens`: the same position, where both sides have the tokenizer (or model) in common.
   `words`: whitespace words, by the character offsets of tokens
3. a unit counts where both sides have a row of it, so that BOS and what was truncated count nowhere; its value is the
   largest of its rows, those not listed being 0
4. groups are those of the side that has fewer of them; prompts that hold the same text (case and spaces folded) are of
   one group, whatever their ids: copies that move apart would make every likeness look like more than chance
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from radiograph.core import Refusal, UserError
from radiograph.core.shapes import Bool, Int64
from radiograph.evidence.matches import AlignedBy, MatchAligned
from radiograph.methods._match.sides import Side, Values, nothing_to_align

if TYPE_CHECKING:
    import polars

    from radiograph.numerics.matching import Activations

Align = Literal["auto", "prompts", "tokens", "words"]
_MAX = (None, "max")


@dataclass(frozen=True, eq=False)
class Aligned:
    """Both sides on shared units."""

    record: MatchAligned
    left: Activations
    right: Activations
    groups: Int64[np.ndarray, " unit"]
    """Number of the group of each unit."""
    prompts: list[str]
    """Shared prompts, in order."""
    prompt: Int64[np.ndarray, " unit"]
    """Place of the prompt of each unit."""
    rows: tuple[Int64[np.ndarray, " row"], Int64[np.ndarray, " row"]]
    """The unit of each row of either side; −1 where it has none."""
    notes: tuple[str, ...] = ()

    def labels(self, left: Values, right: Values) -> tuple[Bool[np.ndarray, " unit"], Bool[np.ndarray, " unit"]] | None:
        """Whether each unit is positive, and whether that is known; labels of the left side before those of the right.
        None where neither side has any.
        """
        for rows, values in zip(self.rows, (left, right), strict=True):
            given = values.rows["label"]
            if given.is_null().all():
                continue
            known, positive = np.zeros(len(self.groups), dtype=bool), np.zeros(len(self.groups), dtype=bool)
            inside = rows >= 0
            known[rows[inside & given.is_not_null().to_numpy()]] = True
            positive[rows[inside & given.fill_null(False).to_numpy()]] = True
            return positive, known
        return None

    def halves(self, left: Values, right: Values) -> Int64[np.ndarray, " unit"] | None:
        """0 for units of discover, 1 for confirm, −1 for others; None where no side is split."""
        for rows, values in zip(self.rows, (left, right), strict=True):
            half = values.rows["split"].replace_strict({"discover": 0, "confirm": 1}, default=-1).to_numpy()
            if (half >= 0).any():
                found = np.full(len(self.groups), -1, dtype=np.int64)
                inside = rows >= 0
                found[rows[inside]] = half[inside]
                return found
        return None


def align(left: Side, right: Side, how: Align) -> Aligned:
    """Shared units.

    Raises:
        UserError: texts contradict each other, or the sides cannot be put together in the way asked for.
        Refusal: `no_activations`, `no_shared_units`, `no_offsets`.
    """
    from radiograph.numerics.matching import shared_prompts

    for side in (left, right):
        if side.values is None:
            raise nothing_to_align(side)
    assert left.values is not None and right.values is not None
    by, notes = _way(left, right, how)
    ours, theirs = _prompts(left.values, "left"), _prompts(right.values, "right")
    shared = shared_prompts(*_comparable(ours, theirs))
    if not len(shared.left):
        raise Refusal("no_shared_units", f"the two sides share no prompt id: {_why(ours, theirs)}", fix=_SAME_FILE)
    both = ours[shared.left], theirs[shared.right]
    items = [_items(values, own, by) for values, own in zip((left.values, right.values), both, strict=True)]
    counts = np.maximum.reduce([_most(item, own, len(both[0])) for item, own in items])
    offsets = np.concatenate([[0], np.cumsum(counts)])
    units = [np.where((own >= 0) & (item >= 0), offsets[own] + item, -1) for item, own in items]
    held = [np.bincount(unit[unit >= 0], minlength=int(offsets[-1])) for unit in units]
    kept = np.flatnonzero((held[0] > 0) & (held[1] > 0))
    new = np.full(int(offsets[-1]) + 1, -1, dtype=np.int64)
    new[kept] = np.arange(len(kept))
    rows = [new[unit] for unit in units]
    prompt = np.searchsorted(offsets, kept, side="right") - 1
    if not len(kept):
        raise Refusal("no_shared_units", f"{len(both[0])} prompts are shared, and no {by[:-1]} of them", fix=_SAME_FILE)
    groups, n_groups = _groups(both, prompt)
    if both[0]["text"].is_null().all() and both[1]["text"].is_null().all():
        notes.append("neither side holds texts: prompts are shared by their ids alone, and copies are not told apart")
    record = MatchAligned(by=by, prompts=len(np.unique(prompt)), groups=n_groups, units=len(kept))
    made = [
        _activations(side, own, held_by[kept], len(kept))
        for side, own, held_by in zip((left, right), rows, held, strict=True)
    ]
    return Aligned(
        record, made[0], made[1], groups, both[0]["prompt_id"].to_list(), prompt, (rows[0], rows[1]), tuple(notes)
    )


_SAME_FILE = "export both sides from one prompt file, with ids"


def _way(left: Side, right: Side, how: Align) -> tuple[AlignedBy, list[str]]:
    assert left.values is not None and right.values is not None
    levels, notes = {left.values.level, right.values.level}, list[str]()
    pools = left.values.pool, right.values.pool
    if "prompt" in levels and how in ("tokens", "words"):
        raise UserError(
            f"--align {how} needs values of tokens on both sides",
            got="values of whole prompts",
            fix="leave --align out, or export records with --level token",
            code="bad_value",
        )
    if levels == {"prompt"}:
        if pools[0] != pools[1]:
            notes.append(
                f"values of prompts are pooled in two ways: {pools[0] or 'unknown'} and {pools[1] or 'unknown'}"
            )
        return "prompts", notes
    if "prompt" in levels or how == "prompts":
        if any(pool not in _MAX for pool in pools):
            raise UserError(
                "tokens are pooled by their maximum, and the other side is not",
                got=f"{pools[0] or pools[1]}",
                fix="export both sides with --level token, or both with --level prompt",
                code="bad_value",
            )
        return "prompts", notes
    one, two = left.record, right.record
    same = any(a is not None and a == b for a, b in (
        (one.tokenizer_sha256, two.tokenizer_sha256), (one.model_sha256, two.model_sha256)
    ))  # fmt: skip
    if how == "tokens" and not same:
        raise UserError(
            "token i of one side is not token i of the other: the tokenizers differ, or are not known",
            fix="--align words",
            code="tokenizers_differ",
        )
    return ("tokens" if same and how != "words" else "words"), notes


def _prompts(values: Values, side: str) -> polars.DataFrame:
    """A line a prompt: id, group, text, hash of the text."""
    import polars as pl

    rows = values.rows
    found = rows.group_by("prompt_id").agg(
        pl.col("group_id").first(),
        pl.col("text").drop_nulls().first(),
        pl.col("text").drop_nulls().n_unique().alias("n"),
    )
    twice = found.filter(pl.col("n") > 1)["prompt_id"].to_list()
    if values.level == "prompt" and rows["prompt_id"].n_unique() < len(rows):
        twice = rows.filter(pl.col("prompt_id").is_duplicated())["prompt_id"].unique().sort().to_list()
    if twice:
        raise UserError(
            "one prompt id for several rows or texts",
            where=side,
            got=", ".join(sorted(twice)[:5]),
            fix="give every prompt an id of its own",
            code="duplicate_prompt",
        )
    return found.sort("prompt_id")


def _comparable(
    ours: polars.DataFrame, theirs: polars.DataFrame
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Ids and texts of both sides; a text that one side lacks contradicts nothing."""
    import polars as pl

    def texts(own: polars.DataFrame, other: polars.DataFrame) -> np.ndarray:
        known = own.join(other.select("prompt_id", pl.col("text").alias("other")), on="prompt_id", how="left")
        said = pl.when(pl.col("other").is_not_null()).then(pl.col("text")).fill_null("").alias("said")
        return known.sort("prompt_id").select(said)["said"].to_numpy()

    return ours["prompt_id"].to_numpy(), theirs["prompt_id"].to_numpy(), texts(ours, theirs), texts(theirs, ours)


def _why(ours: polars.DataFrame, theirs: polars.DataFrame) -> str:
    same = len(set(ours["text"].drop_nulls()) & set(theirs["text"].drop_nulls()))
    return f"{len(ours)} and {len(theirs)} prompts" + (f", {same} texts of them equal under other ids" if same else "")


def _items(values: Values, prompts: polars.DataFrame, by: AlignedBy) -> tuple[np.ndarray, np.ndarray]:
    """Of each row its place within its prompt (−1: none), and that of its prompt among the shared ones (−1: none)."""
    import polars as pl

    place = {name: number for number, name in enumerate(prompts["prompt_id"].to_list())}
    own = values.rows["prompt_id"].replace_strict(place, default=-1, return_dtype=pl.Int64).to_numpy()
    if by == "prompts":
        return np.zeros(len(own), dtype=np.int64), own
    if by == "tokens":
        return values.rows["token"].cast(pl.Int64).to_numpy(), own
    return _words(values, prompts, own), own


def _words(values: Values, prompts: polars.DataFrame, own: Int64[np.ndarray, " row"]) -> Int64[np.ndarray, " row"]:
    """The word of each token, by where it stands in the text of its prompt."""
    from radiograph.numerics.matching import word_spans, words_of

    if "offsets" not in values.rows.columns or prompts["text"].is_null().any():
        lacks = "offsets" if "offsets" not in values.rows.columns else "texts"
        raise Refusal(
            "no_offsets",
            f"words are found by texts and offsets of tokens, and one side has no {lacks}",
            fix="export with radiograph records export, which stores both; or --align prompts",
        )
    spans = _spans(values.rows)
    texts = prompts["text"].to_list()
    item = np.full(len(own), -1, dtype=np.int64)
    order = np.argsort(own, kind="stable")
    starts = np.searchsorted(own[order], np.arange(len(texts) + 1))
    for number, text in enumerate(texts):
        rows = order[starts[number] : starts[number + 1]]
        item[rows] = words_of(spans[rows], word_spans(text))
    return item


def _spans(rows: polars.DataFrame) -> Int64[np.ndarray, "row 2"]:
    """First character and end of each token."""
    import polars as pl

    column = rows["offsets"]
    if isinstance(column.dtype, pl.Struct):
        table = column.struct.unnest()
        return np.column_stack([table.to_series(0).fill_null(0), table.to_series(1).fill_null(0)]).astype(np.int64)
    if isinstance(column.dtype, pl.Array):
        column = column.arr.to_list()
    ends = [column.list.get(place, null_on_oob=True).fill_null(0).to_numpy() for place in (0, 1)]
    return np.column_stack(ends).astype(np.int64)


def _most(item: Int64[np.ndarray, " row"], own: Int64[np.ndarray, " row"], prompts: int) -> Int64[np.ndarray, " p"]:
    """How many places each prompt has room for."""
    counts = np.zeros(prompts, dtype=np.int64)
    inside = own >= 0
    np.maximum.at(counts, own[inside], item[inside] + 1)
    return counts


def _groups(
    both: tuple[polars.DataFrame, polars.DataFrame], prompt: Int64[np.ndarray, " unit"]
) -> tuple[Int64[np.ndarray, " unit"], int]:
    import polars as pl

    from radiograph.numerics.criteria import united
    from radiograph.numerics.design import folded

    named = min((own["group_id"] for own in both), key=lambda column: column.n_unique())
    texts = pl.select(pl.coalesce(both[0]["text"], both[1]["text"])).to_series().to_list()
    group = united([named.to_list(), [None if text is None else folded(text) for text in texts]])
    _, codes = np.unique(group[prompt], return_inverse=True)
    return codes.astype(np.int64), int(codes.max()) + 1


def _activations(
    side: Side, rows: Int64[np.ndarray, " row"], held: Int64[np.ndarray, " unit"], units: int
) -> Activations:
    """Values on shared units; features that cannot be compared are silent."""
    from radiograph.numerics.matching import Activations, pooled_by_unit

    values = side.values
    assert values is not None
    kept = side.comparable[values.feature]
    unit = np.where(kept, rows[values.row], -1)
    pooled = pooled_by_unit(values.feature, unit, values.value, held)
    return Activations.of(pooled.feature, pooled.unit, pooled.value, features=len(side.ids), units=units)
