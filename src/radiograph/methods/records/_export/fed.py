"""What is fed, token by token: ids, where each token stands in its text, and which labelled row it belongs to.

1. a labelled row is a prompt, or a span of one; a prompt with several spans is fed once at level token, and once for
   each span at level prompt, where a span keeps the tokens that it touches
2. texts become tokens with their character offsets; ready tokens have offsets where the text they spell is known
3. no windows: a text that is too long is cut at its end, and counted
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from radiograph.core import UserError

if TYPE_CHECKING:
    import polars

    from radiograph.criteria import Row
    from radiograph.harvest import Plan, Text

CHUNK = 256
"""Texts tokenised together."""


@dataclass(eq=False)
class Fed:
    """Texts as they go in, with what is known of each; `plan` reads it once, then it is complete."""

    tokenizer: Any
    texts: Iterable[Text]
    rows: tuple[Row, ...] = ()
    """Labelled rows."""
    owners: dict[str, list[int]] = field(default_factory=dict)
    """Numbers of the labelled rows of each text, by its id."""
    specials: bool = True
    """Whether the tokenizer adds its special tokens."""
    offsets: dict[str, NDArray[np.int32] | None] = field(default_factory=dict)
    said: dict[str, str | None] = field(default_factory=dict)
    """The text of each id."""

    def __iter__(self) -> Iterator[Text]:
        """Every text with its tokens."""
        stream = iter(self.texts)
        while chunk := list(islice(stream, CHUNK)):
            plain = [text.text for text in chunk if not text.tokens and not text.messages]
            found = iter(_tokenised(self.tokenizer, plain, self.specials))
            for text in chunk:
                if text.messages:
                    self.said[text.id], self.offsets[text.id] = None, None
                    yield text
                    continue
                if not text.tokens and not text.text.strip():
                    where = f"{text.source}:{text.line}" if text.line else text.source or None
                    raise UserError(f"the text {text.id!r} is empty", where=where, code="empty_text")
                ids, offsets = (
                    next(found) if not text.tokens else (text.tokens, _spelled(self.tokenizer, text, self.specials))
                )
                self.said[text.id], self.offsets[text.id] = text.text or None, offsets
                yield replace(text, text="", tokens=ids)


def of_rows(rows: Sequence[Row], tokenizer: Any, *, level: str, specials: bool) -> Fed:
    """Labelled rows as texts."""
    from radiograph.harvest import Text

    texts: dict[str, Text] = {}
    owners: dict[str, list[int]] = {}
    prompts: dict[str, int] = {}
    for row in rows:
        prompts[row.prompt_id] = prompts.get(row.prompt_id, 0) + 1
    for number, row in enumerate(rows):
        name = row.prompt_id
        if level == "prompt" and prompts[name] > 1 and row.span is not None:
            name = f"{name}@{row.span[0]}-{row.span[1]}"
        owners.setdefault(name, []).append(number)
        if name not in texts:
            messages = tuple(dict(message) for message in row.messages)
            texts[name] = Text(name, row.text or "", row.group, messages=messages, tokens=row.tokens)
    return Fed(tokenizer, list(texts.values()), tuple(rows), owners, specials)


@dataclass(frozen=True, eq=False)
class Marked:
    """A plan, and beside each of its tokens its offsets and its labelled row."""

    plan: Plan
    offsets: NDArray[np.int32]
    """Start and end of each token in its text; −1 where that is not known."""
    owner: NDArray[np.int32]
    """Labelled row of each token, −1 for none."""
    lost: int
    """Texts of which no kept token was left."""


def marked(fed: Fed, plan: Plan, *, level: str) -> Marked:
    """Offsets and owners beside the tokens of a plan; at level prompt a span's tokens alone are kept."""
    names = plan.prompts["prompt_id"].to_list()
    total = len(plan.tokens)
    offsets = np.full((total, 2), -1, np.int32)
    owner = np.full(total, -1, np.int32)
    kept = np.array(plan.kept)
    for name, start, length in zip(names, plan.starts.tolist(), plan.lengths.tolist(), strict=True):
        own = slice(start, start + length)
        known = fed.offsets.pop(name, None)
        if known is not None:
            offsets[own] = known[:length]
        for number in fed.owners.get(name, ()):
            span = fed.rows[number].span
            if span is None:
                owner[own] = number
                continue
            if known is None:
                raise UserError(
                    f"prompt {name!r} labels characters, and its tokens cannot be found in its text",
                    fix="label whole prompts, or use a model whose tokenizer gives offsets",
                    code="no_offsets",
                )
            touched = (known[:length, 0] < span[1]) & (known[:length, 1] > span[0])
            owner[own][touched] = number
            # A token that a label names is recorded even if it is a special one.
            kept[own] = touched if level == "prompt" else kept[own] | touched
    if any(row.span is not None for row in fed.rows):
        plan = _marking(plan, kept)
    return Marked(plan, offsets, owner, len(names) - len(plan))


def _marking(plan: Plan, kept: NDArray[np.bool_]) -> Plan:
    """The plan with other tokens kept; texts without any are left out."""
    import polars as pl

    rows = np.array(
        [int(kept[s : s + n].sum()) for s, n in zip(plan.starts.tolist(), plan.lengths.tolist(), strict=True)], np.int64
    )
    left = rows > 0
    if not left.any():
        raise UserError("no labelled token is left", fix="raise --max-length", code="no_rows")
    prompts = plan.prompts.filter(pl.Series(left)).with_columns(
        pl.int_range(pl.len(), dtype=pl.UInt32).alias("prompt"),
        pl.Series("n_kept", rows[left]).cast(plan.prompts.schema["n_kept"]),
    )
    counted = replace(plan.counted, kept=int(rows.sum()))
    return replace(
        plan,
        kept=kept,
        starts=plan.starts[left],
        lengths=plan.lengths[left],
        rows=rows[left],
        prompts=prompts,
        counted=counted,
    )


def row_columns(found: polars.DataFrame, fed: Fed, made: Marked) -> polars.DataFrame:
    """Rows of a part with texts, offsets, and what labels say."""
    import polars as pl

    prompt = found["prompt"].to_numpy().astype(np.int64)
    names = made.plan.prompts["prompt_id"].gather(prompt).to_list()
    starts = made.plan.starts[prompt]
    token = found["token"].to_numpy().astype(np.int64)
    whole = token < 0
    at = starts + np.where(whole, 0, token)
    owner = made.owner[at]
    if whole.any() and fed.rows:
        owner = np.array([fed.owners[name][0] for name in names], np.int32)
    first = np.array([fed.owners[name][0] for name in names], np.int32) if fed.rows else owner
    columns: dict[str, Any] = {
        "row": found["row"].cast(pl.UInt32),
        "token": found["token"].cast(pl.Int32),
        "prompt_id": [fed.rows[i].prompt_id for i in first.tolist()] if fed.rows else names,
        "group_id": found["group_id"],
        "text": pl.Series([fed.said.get(name) for name in names], dtype=pl.String),
        "n_tokens": made.plan.prompts["n_kept"].gather(prompt).cast(pl.UInt32),
    }
    table = pl.DataFrame(columns)
    if not whole.any():
        spans = made.offsets[at]
        known = pl.Series("known", spans[:, 0] >= 0)
        pairs = pl.Series("offsets", spans.astype(np.int32)).cast(pl.List(pl.Int32))
        table = table.with_columns(pl.when(known).then(pairs).alias("offsets"))
    return table if not fed.rows else table.with_columns(_labels(fed.rows, owner, first))


def _labels(rows: Sequence[Row], owner: NDArray[np.int32], first: NDArray[np.int32]) -> list[polars.Series]:
    import polars as pl

    from radiograph.store.records import FACTOR

    own = pl.Series(np.where(owner < 0, len(rows), owner))
    at = pl.Series(first)

    def told(name: str, values: list[Any], kind: Any, place: polars.Series) -> polars.Series:
        return pl.Series(name, [*values, None], dtype=kind, strict=False).gather(place)

    out = [
        told("score", [row.score for row in rows], pl.Float64, own),
        told("label", [row.positive for row in rows], pl.Boolean, own),
        told("kind", [row.kind for row in rows], pl.String, own),
        told("split", [row.half for row in rows], pl.String, at),
    ]
    for name in sorted({name for row in rows for name in row.factors}):
        levels = [row.factors.get(name) for row in rows]
        numeric = all(isinstance(level, int | float | None) for level in levels)
        values = levels if numeric else [None if level is None else str(level) for level in levels]
        out.append(told(f"{FACTOR}{name}", values, pl.Float64 if numeric else pl.String, at))
    return out


def _tokenised(
    tokenizer: Any, texts: list[str], specials: bool
) -> list[tuple[tuple[int, ...], NDArray[np.int32] | None]]:
    if not texts:
        return []
    if not getattr(tokenizer, "is_fast", False):
        found = tokenizer(texts, verbose=False, add_special_tokens=specials)["input_ids"]
        return [(tuple(ids), None) for ids in found]
    found = tokenizer(texts, verbose=False, add_special_tokens=specials, return_offsets_mapping=True)
    bos = tokenizer.bos_token_id
    out: list[tuple[tuple[int, ...], NDArray[np.int32] | None]] = []
    for ids, pairs in zip(found["input_ids"], found["offset_mapping"], strict=True):
        twice = bos is not None and list(ids[:2]) == [bos, bos]  # the text begins with BOS itself
        out.append((tuple(ids[twice:]), np.array(pairs, np.int32).reshape(-1, 2)[int(twice) :]))
    return out


def _spelled(tokenizer: Any, text: Text, specials: bool) -> NDArray[np.int32] | None:
    """Offsets of ready tokens in their text: the tokenizer's where it makes the same tokens, else from what the first
    tokens spell; None where they spell another text.
    """
    if not text.text:
        return None
    ((ids, offsets),) = _tokenised(tokenizer, [text.text], specials)
    if ids == text.tokens and offsets is not None:
        return offsets
    spelled = [
        len(tokenizer.decode(list(text.tokens[:end]), skip_special_tokens=True)) for end in range(len(text.tokens) + 1)
    ]
    if tokenizer.decode(list(text.tokens), skip_special_tokens=True).strip() != text.text.strip():
        return None
    return np.stack([spelled[:-1], spelled[1:]], axis=1).astype(np.int32)
