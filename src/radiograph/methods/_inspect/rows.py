"""The rows of a study: which record rows they are made of, and what says that they meet the criterion.

1. a compiled criterion labels rows by prompt id: whole prompts, or the tokens of a span; else the records' own label,
   score or kind does. Rows that nothing labels are left out and counted
2. rows of tokens whose labels (or scores, where these are ranked) differ inside a prompt stay tokens; else they are
   pooled, a prompt a row
3. records' own labels are grouped, halved and checked here; a compiled criterion brings groups and halves
4. features that were chosen on one half (`selected`) are studied with that split alone
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from radiograph.core import Refusal, UserError
from radiograph.core.shapes import Bool, Float64, Int, Int8, Int64

if TYPE_CHECKING:
    import polars

    from radiograph.criteria import Compiled
    from radiograph.evidence import Criterion, RowKind, Split
    from radiograph.methods._inspect.options import Asked
    from radiograph.sources import Stored
    from radiograph.store.records import Records

KINDS: Final[tuple[RowKind, ...]] = ("positive", "near_miss", "negative")
_NUMBER: Final = {kind: number for number, kind in enumerate(KINDS)}
_OWN = ("label", "score", "kind")


@dataclass(frozen=True, eq=False)
class Placed:
    """Where the record rows of one source go."""

    place: Int64[np.ndarray, " record_row"]
    """By the row's number: its row of the study, −1 for none."""
    rows: Int64[np.ndarray, " row"]
    """Record rows of each row of the study."""
    pool: str
    """`as_stored`, `token`, or how tokens become a prompt."""
    unlabelled: int


@dataclass(frozen=True, eq=False)
class StudyRows:
    """Labelled rows, with all that labels and groups decide."""

    criterion: Criterion
    split: Split | None
    """None once it is written down: it names every group."""
    names: polars.Series
    """Prompt ids."""
    token: Int64[np.ndarray, " row"]
    """−1: the whole prompt."""
    kind: Int8[np.ndarray, " row"]
    """Number in `KINDS`."""
    label: Float64[np.ndarray, " row"]
    """1 positive, 0 not; or the score."""
    group: Int64[np.ndarray, " row"]
    discover: Bool[np.ndarray, " row"]
    stratum: Int64[np.ndarray, " row"] | None
    continuous: bool
    of_criterion: Int64[np.ndarray, " criterion_row"] | None = None
    """By the rows of a compiled criterion: the row of the study, −1 where no record has it."""

    @property
    def missing(self) -> int:
        """Rows of the criterion that no record has."""
        return 0 if self.of_criterion is None else int((self.of_criterion < 0).sum())

    def __len__(self) -> int:
        return len(self.names)

    @property
    def near_miss(self) -> Bool[np.ndarray, " row"]:
        """Which rows look alike without meeting the criterion."""
        return self.kind == _NUMBER["near_miss"]

    @property
    def name(self) -> Int64[np.ndarray, " row"]:
        """Prompt and token as one number, in their order: what tells rows apart, wherever they stand."""
        ids = self.names.rank("dense").to_numpy().astype(np.int64)
        token = self.token - self.token.min(initial=0)
        return ids * (int(token.max(initial=0)) + 1) + token


def study_rows(source: Stored, compiled: Compiled | None, asked: Asked) -> tuple[StudyRows, Placed]:
    """The rows of a study from the first source of records.

    Raises:
        UserError: a split that does not fit. Refusal: `no_labels`, `one_class`.
    """
    if compiled is None:
        return _by_records(source, asked)
    return _by_criterion(source, compiled, asked)


def placed_like(source: Stored, first: StudyRows, compiled: Compiled | None, asked: Asked) -> Placed:
    """Rows of a further source: as those of the first by a compiled criterion, else by prompt id and token.

    Raises:
        UserError: a row of the study that this source lacks, features that were chosen on another split.
    """
    require_split(source.records, source.name, first.split)
    if compiled is None:
        table, place, pool = _beside(source, first, asked)
    else:
        assert first.of_criterion is not None
        table, chosen, pool = _chosen(source, compiled, asked)
        place = np.where(chosen >= 0, first.of_criterion[chosen], -1)
    rows = np.bincount(place[place >= 0], minlength=len(first))
    lacking = np.flatnonzero(rows == 0)
    if len(lacking):
        raise UserError(
            f"{source.name} was not measured on the rows of the other sources",
            expected=f"prompt {first.names[int(lacking[0])]!r}, and {len(lacking) - 1} more",
            fix="inspect sources of different prompts apart",
            code="different_rows",
        )
    return Placed(_by_number(table, place), rows, pool, int((place < 0).sum()))


def _beside(
    source: Stored, first: StudyRows, asked: Asked
) -> tuple[polars.DataFrame, Int64[np.ndarray, " record_row"], str]:
    """Rows of records by the ids of the rows of a study."""
    import polars as pl

    table = source.records.rows.select("row", "token", "prompt_id").collect()
    tokens = bool((first.token >= 0).any())
    own = pl.DataFrame({"prompt_id": first.names.alias("prompt_id"), "token": pl.Series(first.token, dtype=pl.Int32)})
    own = own.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("place"))
    keys = ["prompt_id", "token"] if tokens else ["prompt_id"]
    joined = table.join(own.select(*keys, "place"), on=keys, how="left", maintain_order="left")
    pool = "token" if tokens else _pool_of(source, asked)
    return table, joined["place"].fill_null(-1).to_numpy(), pool


def _by_records(source: Stored, asked: Asked) -> tuple[StudyRows, Placed]:
    """Labels, scores or kinds of the records themselves."""
    import polars as pl

    from radiograph.criteria import kinds_of

    records, name = source.records, source.name
    table = _table(records, asked.stratify, text=True)
    known = [column for column in (("score",) if asked.continuous else _OWN) if column in table.columns]
    labelled = np.zeros(len(table), dtype=bool)
    for column in known:
        labelled |= table[column].is_not_null().to_numpy()
    if not labelled.any():
        what = "a criterion_score" if asked.continuous else "a label, a score or a kind"
        raise Refusal(
            "no_labels",
            f"no row of {name} has {what}, so nothing says which rows meet the criterion",
            got=f"{len(table)} rows",
            fix="give labelled prompts with the same ids by --prompts FILE, or a compiled criterion",
        )
    kept = table.filter(pl.Series(labelled)) if not labelled.all() else table
    kinds = kinds_of(
        *(kept[column].to_list() if column in kept.columns else None for column in _OWN),
        threshold=asked.threshold,
        name=name,
        prompts=kept["prompt_id"].to_list(),
    )
    numbers = np.array([_NUMBER[kind] for kind in kinds], dtype=np.int8)
    kept = kept.with_columns(pl.Series("kind", numbers))
    tokens = _differ(kept, "score" if asked.continuous else "kind")
    if tokens and asked.pool is not None:
        raise UserError(
            f"tokens of one prompt have different labels in {name}, so they stay tokens",
            got=f"--pool {asked.pool}",
            fix="leave --pool out",
            where="--pool",
            code="bad_value",
        )
    if records.header.level == "token" and not tokens:
        kept = kept.unique("prompt_id", keep="first", maintain_order=True)
        rows, place = _pooled(table, kept, labelled)
        pool = _pool_of(source, asked)
    else:
        place = np.full(len(table), -1, np.int64)
        place[labelled] = np.arange(len(kept))
        rows, pool = np.ones(len(kept), np.int64), "token" if tokens else _pool_of(source, asked)
    made = _studied(records, name, kept, _texts(records, kept["prompt_id"]) if tokens else None, asked)
    return made, Placed(_by_number(table, place), rows, pool, int((~labelled).sum()))


def _studied(
    records: Records, name: str, kept: polars.DataFrame, of_tokens: list[str | None] | None, asked: Asked
) -> StudyRows:
    """The study of rows of prompts; of tokens where the texts of their prompts are given."""
    from radiograph.criteria import Records as Labelled
    from radiograph.criteria import prepare_records

    factors = None
    if asked.stratify is not None:
        levels = kept[f"factor.{asked.stratify}"].to_list()
        factors = [{asked.stratify: level} for level in levels]
    tokens = of_tokens is not None
    texts = kept["text"].to_list() if "text" in kept.columns and not tokens else of_tokens
    prompts = kept["prompt_id"].to_list()
    labelled = Labelled(
        prompt_ids=prompts,
        groups=_groups(kept) if "group_id" in kept.columns else prompts,
        kinds=[KINDS[number] for number in kept["kind"].to_list()],
        texts=texts,
        factors=factors,
        sha256=records.header.features_sha256,
    )
    split = _split_of(records, name, kept, list(labelled.groups), asked)
    made = prepare_records(
        asked.criterion,
        labelled,
        seed=asked.seed,
        split=split,
        surface=asked.surface and not tokens,  # the text of a prompt says nothing of one of its tokens
        continuous=asked.continuous,
    )
    label = made.positive.astype(np.float64)
    if asked.continuous:
        label = kept["score"].to_numpy().astype(np.float64)
    criterion = made.criterion.model_copy(update={"level": "token"}) if tokens else made.criterion
    return StudyRows(
        criterion=criterion,
        split=made.split,
        names=kept["prompt_id"],
        token=kept["token"].to_numpy().astype(np.int64) if tokens else np.full(len(kept), -1, np.int64),
        kind=kept["kind"].to_numpy(),
        label=label,
        group=made.group,
        discover=made.discover,
        stratum=None if factors is None else _levels(kept[f"factor.{asked.stratify}"].to_list(), str(asked.stratify)),
        continuous=asked.continuous,
    )


def _by_criterion(source: Stored, compiled: Compiled, asked: Asked) -> tuple[StudyRows, Placed]:
    """Labels of a compiled criterion, by prompt id."""
    import polars as pl

    records, name = source.records, source.name
    require_split(records, name, compiled.split)
    rows = compiled.rows
    if asked.continuous and any(row.score is None for row in rows):
        raise Refusal("no_labels", "--score continuous needs a score for every row", got="rows without one")
    table, chosen, pool = _chosen(source, compiled, asked)
    found = np.unique(chosen[chosen >= 0])
    if not len(found):
        raise Refusal(
            "no_labels",
            f"no row of {name} is a prompt of the criterion",
            expected=f"prompt ids as {rows[0].prompt_id!r}",
            got=f"as {table['prompt_id'][0]!r}" if len(table) else "no rows",
        )
    number = np.full(len(rows), -1, np.int64)
    number[found] = np.arange(len(found))
    place = np.where(chosen >= 0, number[chosen], -1)
    kept = [rows[i] for i in found.tolist()]
    groups = np.unique(np.array([row.group for row in kept], dtype=object), return_inverse=True)[1].reshape(-1)
    label = [float(row.score or 0) if asked.continuous else float(row.positive) for row in kept]
    stratum = None
    if asked.stratify is not None:
        known = sorted({factor for row in kept for factor in row.factors})
        if asked.stratify not in known:
            raise _no_factor(asked.stratify, known)
        stratum = _levels([row.factors.get(asked.stratify) for row in kept], asked.stratify)
    made = StudyRows(
        criterion=compiled.criterion,
        split=compiled.split,
        names=pl.Series([row.prompt_id for row in kept], dtype=pl.String),
        token=np.full(len(kept), -1, np.int64),
        kind=np.array([_NUMBER[row.kind] for row in kept], dtype=np.int8),
        label=np.array(label),
        group=groups.astype(np.int64),
        discover=np.array([row.half == "discover" for row in kept]),
        stratum=stratum,
        continuous=asked.continuous,
        of_criterion=number,
    )
    counts = np.bincount(place[place >= 0], minlength=len(kept))
    unlabelled = int((place < 0).sum()) if records.header.level == "prompt" else 0
    return made, Placed(_by_number(table, place), counts, pool, unlabelled)


def _chosen(
    source: Stored, compiled: Compiled, asked: Asked
) -> tuple[polars.DataFrame, Int64[np.ndarray, " record_row"], str]:
    """The rows of some records, the row of the criterion of each (−1: none), and how they are pooled."""
    import polars as pl

    from radiograph.criteria import check_texts

    records = source.records
    check_texts(compiled.rows, records.texts().iter_rows(), source.name)
    spans = compiled.criterion.level == "token"
    table = _table(records, None, text=spans)
    owner: dict[str, list[int]] = {}
    for number, row in enumerate(compiled.rows):
        owner.setdefault(row.prompt_id, []).append(number)
    pool = _pool_of(source, asked)
    if spans and records.header.level == "token":
        return table, _at_spans(table, compiled.rows, owner), pool
    if any(len(own) > 1 for own in owner.values()):
        raise UserError(
            f"{source.name} holds whole prompts, the criterion labels several spans of one",
            fix="record tokens: records export --level token",
            code="mixed_levels",
        )
    first = {prompt: own[0] for prompt, own in owner.items()}
    at = table["prompt_id"].replace_strict(list(first), list(first.values()), default=None, return_dtype=pl.Int64)
    return table, at.fill_null(-1).to_numpy(), pool


def _pool_of(source: Stored, asked: Asked) -> str:
    """How tokens become a row: as asked for; else the largest code of a dictionary, the last value of a unit.

    Raises:
        UserError: records that are pooled, and another way is asked for.
    """
    header = source.records.header
    if header.level == "prompt":
        if asked.pool is not None and asked.pool != header.pool:
            raise UserError(
                f"{source.name} holds a value for each prompt, so its tokens cannot be pooled again",
                got=f"--pool {asked.pool}, and records of {header.pool or 'no stated pooling'}",
                fix="leave --pool out, or record tokens: records export --level token",
                where="--pool",
                code="bad_value",
            )
        return "as_stored"
    if asked.pool is not None:
        return asked.pool
    codes, units = _addressed(source)
    return "last" if units.all() and not codes.any() else "max"


def pooled_alike(source: Stored, asked: Asked) -> list[Stored]:
    """Records of tokens, codes of dictionaries apart from units where nobody says how both are pooled."""
    codes, units = _addressed(source)
    if asked.pool is not None or source.records.header.level == "prompt" or not (codes.any() and units.any()):
        return [source]
    every = np.ones(len(source.records.features), dtype=bool) if source.chosen is None else source.chosen
    own = np.zeros(len(every), dtype=bool)
    own[np.flatnonzero(every)] = units
    return [replace(source, chosen=every & ~own), replace(source, chosen=own)]


def _addressed(source: Stored) -> tuple[Bool[np.ndarray, " chosen"], Bool[np.ndarray, " chosen"]]:
    """Which of the features are codes of a dictionary, and which are other coordinates of a site."""
    table = source.records.features
    codes = table["dictionary_sha256"].is_not_null().to_numpy()
    units = table["site"].is_not_null().to_numpy() & ~codes
    return (codes, units) if source.chosen is None else (codes[source.chosen], units[source.chosen])


def _at_spans(table: polars.DataFrame, rows: Any, owner: dict[str, list[int]]) -> Int64[np.ndarray, " record_row"]:
    """The row of the criterion whose span each token touches; −1 for none. Without offsets: the last token, where the
    span ends the text.
    """
    prompts = table["prompt_id"].to_list()
    offsets = table["offsets"].to_list() if "offsets" in table.columns else [None] * len(prompts)
    last = {prompt: place for place, prompt in enumerate(prompts)}
    chosen = np.full(len(prompts), -1, np.int64)
    for place, (prompt, span) in enumerate(zip(prompts, offsets, strict=True)):
        for number in owner.get(prompt, ()):
            low, high = rows[number].span
            if span is None or len(span) != 2:
                touches = place == last[prompt] and high == len(rows[number].text or "")
            else:
                touches = span[0] < high and low < span[1]
            if touches:
                chosen[place] = number
    return chosen


def _table(records: Records, stratify: str | None, *, text: bool) -> polars.DataFrame:
    """The columns of the rows that decide something."""
    there = records.rows.collect_schema().names()
    wanted = ["row", "token", "prompt_id", "group_id", *_OWN, "split", *(["text", "offsets"] if text else [])]
    if stratify is not None:
        if f"factor.{stratify}" not in there:
            raise _no_factor(stratify, records.factors)
        wanted.append(f"factor.{stratify}")
    return records.rows.select([name for name in wanted if name in there]).collect()


def _differ(table: polars.DataFrame, column: str) -> bool:
    """Whether the tokens of some prompt have different labels, or different scores."""
    import polars as pl

    if not (table["token"] >= 0).any():
        return False
    found = table.group_by("prompt_id").agg(pl.col(column).n_unique().alias("n"), pl.len().alias("rows"))
    return bool((found["n"] > 1).any())


def _pooled(
    table: polars.DataFrame, kept: polars.DataFrame, labelled: Bool[np.ndarray, " record_row"]
) -> tuple[Int64[np.ndarray, " row"], Int64[np.ndarray, " record_row"]]:
    """Every token to the row of its prompt."""
    import polars as pl

    at = table["prompt_id"].replace_strict(
        kept["prompt_id"], pl.int_range(len(kept), eager=True, dtype=pl.Int64), default=None, return_dtype=pl.Int64
    )
    place = at.fill_null(-1).to_numpy()
    return np.bincount(place[place >= 0], minlength=len(kept)), place


def _by_number(table: polars.DataFrame, place: Int[np.ndarray, " record_row"]) -> Int64[np.ndarray, " number"]:
    """Places by the numbers of rows, which may have gaps."""
    numbers = table["row"].to_numpy().astype(np.int64)
    if len(numbers) and numbers[0] == 0 and numbers[-1] == len(numbers) - 1:
        return place.astype(np.int64)
    out = np.full(int(numbers.max(initial=-1)) + 1, -1, np.int64)
    out[numbers] = place
    return out


def _texts(records: Records, prompts: polars.Series) -> list[str | None]:
    """The text of each prompt, where it is known."""
    known = records.texts()
    return prompts.replace_strict(
        known["prompt_id"], known["text"], default=None, return_dtype=known["text"].dtype
    ).to_list()


def _no_factor(name: str, known: Sequence[str]) -> UserError:
    expected = ", ".join(known) or "none"
    return UserError(f"rows have no factor {name!r}", expected=expected, where="--stratify", code="bad_value")


def _levels(levels: list[Any], name: str) -> Int64[np.ndarray, " row"]:
    """Levels as numbers.

    Raises:
        UserError: rows without one.
    """
    lacking = sum(level is None for level in levels)
    if lacking:
        raise UserError(
            f"{lacking} rows have no level of {name!r}",
            expected="a level for each labelled row",
            where="--stratify",
            code="bad_value",
        )
    return np.unique([str(level) for level in levels], return_inverse=True)[1].reshape(-1).astype(np.int64)


def _groups(table: polars.DataFrame) -> list[str]:
    """The group that each row names, or the prompt itself."""
    return table["group_id"].fill_null(table["prompt_id"]).to_list()


def _split_of(records: Records, name: str, table: polars.DataFrame, groups: list[str], asked: Asked) -> Split | None:
    """The split that is given, or the one that the rows carry.

    Raises:
        UserError: rows of no half, a group in both, or features that were chosen on another split.
    """
    from radiograph.criteria import split_of_rows

    split = asked.split
    if split is None and "split" in table.columns:
        split = split_of_rows(name, table["prompt_id"].to_list(), groups, table["split"].to_list())
    require_split(records, name, split)
    return split


def require_split(records: Records, name: str, split: Split | None) -> None:
    """Features that were chosen with labels are studied with the split that chose them.

    Raises:
        UserError: another split, or none.
    """
    selected = records.header.selected
    if selected is not None and (split is None or split.sha256 != selected):
        raise UserError(
            f"the features of {name} were chosen with labels on one half, so that half alone may choose again",
            expected=f"the split {selected[:12]}…",
            got="no split" if split is None else f"{split.sha256[:12]}…",
            where="--split",
            fix="give the split.json that was stored with the records",
            code="split_mismatch",
        )
