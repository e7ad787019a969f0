"""What a file of activation records holds, collected a chunk at a time.

Entries are kept as 12 bytes each, rows as tables; what exceeds a share of `memory` goes to disk. Rows of other models
are left out. A row without prompt id is named after its text (`text-` and 12 hex digits of its SHA-256), or, without a
text, after its line (`line-…`); equal names are numbered in the order of their lines' hashes, never of the file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence, Set
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from radiograph.core import UserError, visible
from radiograph.store.foreign._parse import Codes, Facts, Parsed
from radiograph.store.lines import Mistakes, floats, one_of, says_private, texts, whole_numbers

if TYPE_CHECKING:
    import polars

HALVES = ("discover", "confirm")
KINDS = ("positive", "near_miss", "negative", "neutral")
ENTRY = np.dtype([("line", "<u4"), ("code", "<u4"), ("value", "<f4")])
READ = 1_000_000
_OWN = frozenset({"model", "prompt_id", "id", "group_id", "text", "token", "n_tokens", "kind", "split", "features"}) | {
    "criterion_score",
    "label",
    "factors",
    "metadata",
    "feature_metadata",
}


class Draft:
    """Rows and entries of one model."""

    def __init__(self, folder: Path, model: str | None, keep_zeros: bool, memory: int, mistakes: Mistakes) -> None:
        self.folder, self.model, self.keep_zeros, self.mistakes = folder, model, keep_zeros, mistakes
        self.models: dict[str, int] = {}
        """Lines of each model that the file names."""
        self.codes, self.facts = Codes(), Facts()
        self.counts: NDArray[np.int64] = np.zeros(0, np.int64)
        """Entries of each code."""
        self.private = False
        """Whether a line is marked private."""
        self.vanished: dict[int, int] = {}
        """Of each code, values that are not zero but are so in float32."""
        self.tables: list[polars.DataFrame | Path] = []
        self.keys: list[polars.DataFrame] = []
        self.lines = 0
        self._share = memory // 4
        self._entries: list[NDArray[Any]] = []
        self._held = {"entries": 0, "tables": 0}
        self._spilled = folder / "entries.bin"

    def add(self, found: Parsed) -> None:
        """Take what fits of some lines."""
        wanted = self._wanted(found)
        if not wanted.any():
            return
        heads, numbers, raw = found.heads, found.numbers, found.raw
        if not wanted.all():
            heads, numbers, raw = (
                list(compress(heads, wanted)),
                list(compress(numbers, wanted)),
                list(compress(raw, wanted)),
            )
        self.facts.from_items(item for place, item in found.items if wanted[place])
        keys = set[str]().union(*heads)
        for head, number in zip(heads, numbers, strict=True) if "feature_metadata" in keys else ():
            if head.get("feature_metadata") is not None:
                self.facts.from_head(head["feature_metadata"], number, self.mistakes)
        self._add_entries(found, wanted)
        self._add_rows(heads, numbers, raw, keys)

    def entries(self) -> Iterator[NDArray[Any]]:
        """All entries, a piece at a time."""
        if self._spilled.is_file():
            with self._spilled.open("rb") as handle:
                while len(part := np.fromfile(handle, ENTRY, READ)):
                    yield part
        yield from self._entries

    def _wanted(self, found: Parsed) -> NDArray[np.bool_]:
        own = np.zeros(len(found.heads), bool)
        given = [head.get("model") for head in found.heads]
        models = set(given) if set(map(type, given)) == {str} else set[str]()
        if len(models) == 1 and (only := next(iter(models))) and self.models.keys() <= models:
            self.models[only] = self.models.get(only, 0) + len(found.heads)
            own[:] = self.model in (None, only)
            return own
        for place, (head, number) in enumerate(zip(found.heads, found.numbers, strict=True)):
            model = head.get("model")
            if not isinstance(model, str):
                what = "no model" if model is None else f"model must be text, got {model!r}"
                self.mistakes.add(number, what)
                continue
            self.models[model] = self.models.get(model, 0) + 1
            own[place] = self.model in (None, model)
        if self.model is None and len(self.models) > 1:
            raise UserError(
                f"{self.mistakes.name} holds records of several models",
                expected="the id of one: " + ", ".join(visible(name, 80) for name in sorted(self.models)),
                where=f"{self.mistakes.name}: model",
                code="several_models",
            )
        return own

    def _add_entries(self, found: Parsed, wanted: NDArray[np.bool_]) -> None:
        line = np.repeat(np.cumsum(wanted) - 1 + self.lines, found.counts)
        kept = np.repeat(wanted, found.counts)
        codes = self.codes.of(found.names, len(found.names))[found.index]
        zero = found.values.astype(np.float32) == 0
        lost, times = np.unique(codes[kept & zero & (found.values != 0)], return_counts=True)
        for code, count in zip(lost.tolist(), times.tolist(), strict=True):
            self.vanished[code] = self.vanished.get(code, 0) + count
        if not self.keep_zeros:
            kept &= ~zero
        entries = np.empty(int(kept.sum()), ENTRY)
        entries["code"], entries["line"], entries["value"] = codes[kept], line[kept], found.values[kept]
        counts = np.bincount(entries["code"], minlength=len(self.codes))
        counts[: len(self.counts)] += self.counts
        self.counts = counts
        self._entries.append(entries)
        self._held["entries"] += entries.nbytes
        if self._held["entries"] > self._share:
            with self._spilled.open("ab") as handle:
                for part in self._entries:
                    part.tofile(handle)
            self._entries, self._held["entries"] = [], 0

    def _add_rows(self, heads: list[dict[str, Any]], numbers: list[int], raw: list[bytes], keys: Set[str]) -> None:
        import polars as pl

        if not self.private and any(b"rivate" in text for text in raw):
            self.private = says_private(heads)
        table = _rows(heads, numbers, raw, keys, self.mistakes)
        table = table.with_columns(pl.int_range(self.lines, self.lines + len(table), dtype=pl.UInt32).alias("at"))
        self.lines += len(table)
        hashed = pl.when(pl.col("text").is_not_null()).then(pl.col("text").hash()).alias("text_hash")
        self.keys.append(
            table.select("at", "line", "prompt_id", "token", "tie", "group_id", "score", "label", "kind", hashed)
        )
        self._held["tables"] += int(table.estimated_size())
        if self._held["tables"] <= self._share:
            self.tables.append(table)
            return
        path = self.folder / f"rows-{len(self.tables):06d}.arrow"
        table.write_ipc(path)
        self.tables.append(path)


def _rows(
    heads: list[dict[str, Any]], numbers: list[int], raw: list[bytes], there: Set[str], mistakes: Mistakes
) -> polars.DataFrame:
    import polars as pl

    nothing: list[None] = [None] * len(heads)

    def column(key: str) -> list[Any]:
        return [head.get(key) for head in heads] if key in there else nothing

    def text(key: str) -> list[str | None]:
        return texts(column(key), numbers, key, mistakes) if key in there else list(nothing)

    prompts = [head.get("prompt_id", head.get("id")) for head in heads]
    names = [name or None for name in texts(prompts, numbers, "prompt_id", mistakes)]
    own, tokens = text("text"), whole_numbers(column("token"), numbers, "token", mistakes)
    ties: list[str] = [""] * len(heads)
    for place, name in enumerate(names if None in names else ()):
        if name is None:
            if tokens[place] is not None:
                mistakes.add(numbers[place], "a row of a token needs the prompt_id of its prompt")
            ties[place] = hashlib.sha256(raw[place].strip()).hexdigest()
            said = own[place]
            digest = ties[place] if said is None else hashlib.sha256(said.encode("utf-8", "replace")).hexdigest()
            names[place] = f"{'line' if said is None else 'text'}-{digest[:12]}"
    for place, token in enumerate(tokens if "token" in there else ()):
        if token is not None and not -1 <= token < 2**31:
            mistakes.add(numbers[place], f"token must be a position from 0, or -1, got {token}")
            tokens[place] = None
    scores = floats(column("criterion_score"), numbers, "criterion_score", mistakes)
    said_so = labels(column("label"), numbers, mistakes)
    both = {"label", "criterion_score"} <= there
    for label, score, number in zip(said_so, scores, numbers, strict=True) if both else ():
        # Scores in between depend on the threshold, of which a file knows nothing.
        if label is not None and score == float(not label):
            mistakes.add(number, f"label {label} contradicts criterion_score {score:g}")
    columns = {
        "line": pl.Series(numbers, dtype=pl.UInt32),
        "prompt_id": pl.Series(names, dtype=pl.String),
        "group_id": pl.Series(text("group_id"), dtype=pl.String),
        "token": pl.Series([-1 if token is None else token for token in tokens], dtype=pl.Int32),
        "tie": pl.Series(ties, dtype=pl.String),
        "text": pl.Series(own, dtype=pl.String),
        "n_tokens": pl.Series(whole_numbers(column("n_tokens"), numbers, "n_tokens", mistakes), dtype=pl.Int64),
        "score": pl.Series(scores, dtype=pl.Float64),
        "label": pl.Series(said_so, dtype=pl.Boolean),
        "kind": pl.Series(one_of(column("kind"), numbers, "kind", KINDS, mistakes), dtype=pl.String),
        "split": pl.Series(one_of(column("split"), numbers, "split", HALVES, mistakes), dtype=pl.String),
        "factors": pl.Series(_factors(column("factors"), numbers, mistakes), dtype=pl.String),
        "extra": pl.Series(
            [_extra(head) for head in heads] if there - _OWN or "metadata" in there else nothing, dtype=pl.String
        ),
    }
    return pl.DataFrame(columns)


def labels(values: Sequence[Any], numbers: Sequence[int], mistakes: Mistakes) -> list[bool | None]:
    """Labels as true, false, 1, 0, or null."""
    if set(map(type, values)) <= {bool, type(None)}:
        return list(values)
    for value, number in zip(values, numbers, strict=True):
        if not (value is None or isinstance(value, bool | int | float)) or value not in (None, 0, 1):
            mistakes.add(number, f"label must be true, false, 1 or 0, got {value!r}")
    return [bool(value) if isinstance(value, int | float) else None for value in values]


def _factors(values: Sequence[Any], numbers: Sequence[int], mistakes: Mistakes) -> list[str | None]:
    if set(map(type, values)) == {type(None)}:
        return list(values)
    out: list[str | None] = []
    for value, number in zip(values, numbers, strict=True):
        fits = isinstance(value, dict | None) and all(isinstance(v, str | int | float) for v in (value or {}).values())
        if not fits:
            mistakes.add(number, f"factors must be a map of name to text or number, got {value!r}")
        out.append(json.dumps(value, sort_keys=True) if value and fits else None)
    return out


def _extra(head: dict[str, Any]) -> str | None:
    """What nobody here reads, kept."""
    rest = {key: head[key] for key in head.keys() - _OWN}
    if head.get("metadata"):
        rest["metadata"] = head["metadata"]
    return json.dumps(rest, sort_keys=True, ensure_ascii=False) if rest else None
