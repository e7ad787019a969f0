"""What will be run, decided before any model does: windows, the side of the split each is on, and where shards end.

1. texts are tokenised once, in order, into one array of tokens (a file, where the data may be large)
2. a subset is the documents with the smallest keyed hash of (seed, id): the first N of that order, or as many as a
budget of kept tokens pays for
3. split by group: a keyed hash of (salt, group) below the validation share; groups that hold an equal token sequence
are united first, so no duplicate straddles the split   4. shards are cut greedily from the counts of kept tokens

The plan depends on the texts and the options alone, so shard n is known without a model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import astuple, dataclass, field
from io import BufferedRandom, BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from radiograph.core import Progress, Silent, UserError
from radiograph.harvest._sources import Text, drawn, twice
from radiograph.harvest._tokens import Keep, Reading, encode, pieces

Split = Literal["train", "validation"]
WINDOWS = "windows.npz"
PROMPTS = "prompts.parquet"
LONGEST = 65_535
"""Positions are stored in 16 bits."""
FLUSH = 16_384
"""Windows held as Python objects before they become columns."""


@dataclass(frozen=True, slots=True)
class Window:
    """Tokens that run together, and which of their rows are kept."""

    prompt: str
    group: str
    ids: tuple[int, ...]
    kept: tuple[bool, ...]
    split: Split = "train"


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of the data is taken, and how it is divided."""

    max_prompts: int | None = None
    max_tokens: int | None = None
    """Most kept rows; at least one document is taken."""
    seed: int = 0
    validation: float = 0.1
    salt: int = 0


@dataclass(frozen=True, slots=True)
class Counted:
    """What became of the texts."""

    documents: int
    empty: int
    """Without a row to keep."""
    cut: int
    """Longer than a window: divided, or truncated."""
    tokens: int
    """Fed, specials included."""
    kept: int
    left_out: int
    """Not in the subset."""


@dataclass(frozen=True, eq=False)
class Plan:
    """Windows in stream order. `prompts` is the table that is stored as prompts.parquet, a row a window."""

    tokens: NDArray[np.uint32]
    kept: NDArray[np.bool_]
    starts: NDArray[np.int64]
    """First token of each window in `tokens`."""
    lengths: NDArray[np.int64]
    rows: NDArray[np.int64]
    """Rows to keep of each window."""
    prompts: Any
    counted: Counted
    reading: Reading

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def sha256(self) -> str:
        """Hash of everything that will be fed and kept, and of the split."""
        digest = hashlib.sha256(b"radiograph.plan/1")
        for array in (self.lengths, self.rows):
            digest.update(array.tobytes())
        for text in self.prompts["token_sha256"]:
            digest.update(text.encode())
        digest.update("".join(split[0] for split in self.prompts["split"]).encode())
        return digest.hexdigest()

    def window(self, number: int) -> Window:
        """One window."""
        own = slice(int(self.starts[number]), int(self.starts[number] + self.lengths[number]))
        row = self.prompts.row(number, named=True)
        ids, kept = self.tokens[own].tolist(), self.kept[own].tolist()
        return Window(row["prompt_id"], row["group"], tuple(ids), tuple(kept), row["split"])

    def save(self, folder: Path) -> None:
        """Leave everything but the tokens, which lie there already, for `open_plan`."""
        counted = np.array(astuple(self.counted))
        self.prompts.write_parquet(folder / PROMPTS)
        np.savez(folder / WINDOWS, starts=self.starts, lengths=self.lengths, rows=self.rows, counted=counted)

    def shards(self, row_bytes: int, shard_bytes: int) -> NDArray[np.int64]:
        """First window of each shard, and at the end the number of windows: as many windows as fit, at least one."""
        ends = np.cumsum(self.rows * row_bytes)
        bounds, start, before = [0], 0, 0
        while start < len(ends):
            start = max(int(np.searchsorted(ends, before + shard_bytes, side="right")), start + 1)
            before = int(ends[start - 1])
            bounds.append(start)
        return np.array(bounds, dtype=np.int64)


def open_plan(folder: Path, reading: Reading) -> Plan:
    """A plan that another process made and saved; its tokens are mapped."""
    import polars

    with np.load(folder / WINDOWS) as held:
        starts, lengths, rows, counted = (held[name] for name in ("starts", "lengths", "rows", "counted"))
    tokens = np.memmap(folder / "tokens.bin", np.uint32, mode="r")
    kept = np.memmap(folder / "kept.bin", np.bool_, mode="r")
    prompts = polars.read_parquet(folder / PROMPTS)
    return Plan(tokens, kept, starts, lengths, rows, prompts, Counted(*counted.tolist()), reading)


def plan(
    tokenizer: Any,
    texts: Iterable[Text],
    reading: Reading,
    limits: Limits,
    *,
    vocabulary: int | None = None,
    folder: Path | None = None,
    keep_text: bool = False,
    progress: Progress | None = None,
) -> Plan:
    """Tokenise and divide.

    Args:
        tokenizer: of the reference; None where every text brings its tokens.
        texts: can be iterated twice.
        reading: how texts become windows.
        limits: how many, and the split.
        vocabulary: ids at or above it are refused.
        folder: where tokens are kept; None is memory.
        keep_text: the table holds the texts.
        progress: is told of documents.

    Raises:
        UserError: no row to keep, an id twice, a token outside the vocabulary, a share outside [0, 1).
    """
    if not 0 <= limits.validation < 1:
        raise UserError("the validation share", expected="at least 0, below 1", got=str(limits.validation))
    if not 1 <= reading.length <= LONGEST:
        raise UserError("the length of a window", expected=f"1 to {LONGEST:,} tokens", got=str(reading.length))
    chosen = texts if limits.max_prompts is None else _first(texts, limits.max_prompts, limits.seed)
    with closing(_Store(folder, keep_text)) as store, (progress or Silent()).task("tokenising") as task:
        for text, document in encode(tokenizer, chosen, reading):
            if document.ids and vocabulary is not None and not 0 <= min(document.ids) <= max(document.ids) < vocabulary:
                bad = next(i for i in document.ids if not 0 <= i < vocabulary)
                raise UserError(
                    f"{text.id}: token id {bad} is outside the vocabulary", expected=f"0 to {vocabulary - 1}"
                )
            store.add(text, document.ids, pieces(document, reading), drawn(limits.seed, text.id), reading.length)
            task.advance()
        return store.finish(limits, reading)


def windows(
    tokenizer: Any,
    texts: Sequence[Text],
    *,
    length: int,
    keep: Keep = "content",
    validation: float = 0.1,
    salt: int = 0,
) -> list[Window]:
    """Windows of all texts in order; a text without a token to keep gives none.

    Raises:
        UserError: no text has a token to keep, or the validation share is outside [0, 1).
    """
    made = plan(tokenizer, texts, Reading(length, rows=keep), Limits(validation=validation, salt=salt))
    return [made.window(number) for number in range(len(made))]


def _first(texts: Iterable[Text], count: int, seed: int) -> Iterator[Text]:
    """The texts with the smallest keyed hashes, in their order. Two passes: only hashes are held."""
    hashes = np.fromiter((drawn(seed, text.id) for text in texts), dtype=np.uint64)
    bound = np.partition(hashes, count - 1)[count - 1] if count < len(hashes) else np.uint64(2**64 - 1)
    return (text for text in texts if drawn(seed, text.id) <= bound)


@dataclass(eq=False)
class _Store:
    """Documents and windows as they are read, in columns."""

    folder: Path | None
    keep_text: bool
    held: list[tuple[Any, ...]] = field(default_factory=list)
    tables: list[Any] = field(default_factory=list)
    texts: int = 0
    empty: int = 0
    n_tokens: int = 0

    def __post_init__(self) -> None:
        self.tokens, self.marks = _sink(self.folder, "tokens"), _sink(self.folder, "kept")

    def close(self) -> None:
        """Let go of the files; arrays in memory stay with the plan."""
        for sink in (self.tokens, self.marks):
            if isinstance(sink, BufferedRandom):
                sink.close()

    def add(
        self,
        text: Text,
        ids: tuple[int, ...],
        parts: Sequence[tuple[tuple[int, ...], tuple[bool, ...]]],
        key: int,
        length: int,
    ) -> None:
        """One document and its windows."""
        number, self.texts = self.texts, self.texts + 1
        self.empty += not parts
        digest = int.from_bytes(hashlib.sha256(np.array(ids, np.uint32).tobytes()).digest()[:8], "little")
        for place, (own, marks) in enumerate(parts):
            data = np.array(own, np.uint32).tobytes()
            self.tokens.write(data)
            self.marks.write(bytes(marks))
            content = _content(text) if self.keep_text and place == 0 else None
            sha256 = hashlib.sha256(data).hexdigest()
            where = (text.id, place, text.group, text.source, text.line)
            document = (number, key, digest, len(ids) > length)
            self.held.append((*document, self.n_tokens, *where, len(own), sum(marks), sha256, content))
            self.n_tokens += len(own)
        if len(self.held) >= FLUSH:
            self._flush()

    def _flush(self) -> None:
        import polars

        if self.held:
            self.tables.append(polars.DataFrame(self.held, schema=_schema(), orient="row"))
            self.held = []

    def finish(self, limits: Limits, reading: Reading) -> Plan:
        """Choose, divide, number."""
        import polars

        self._flush()
        if not self.tables:
            raise UserError("no text has a token to keep", got=f"{self.texts} texts", code="no_rows")
        table = polars.concat(self.tables)
        self.tables = []
        _check_ids(table)
        if limits.max_tokens is not None:
            table = table.filter(polars.Series(_paid(table, limits.max_tokens)))
        table = table.with_columns(polars.Series("split", _sides(table, limits)))
        rows, lengths = table["n_kept"].to_numpy(), table["n_tokens"].to_numpy()
        taken = table["document"].n_unique()
        counted = Counted(
            documents=taken,
            empty=self.empty,
            cut=table.filter("cut")["document"].n_unique(),
            tokens=int(lengths.sum()),
            kept=int(rows.sum()),
            left_out=self.texts - self.empty - taken,
        )
        return Plan(
            tokens=_array(self.tokens, np.dtype(np.uint32)),
            kept=_array(self.marks, np.dtype(np.bool_)),
            starts=table["start"].to_numpy(),
            lengths=lengths.astype(np.int64),
            rows=rows.astype(np.int64),
            prompts=_public(table, self.keep_text),
            counted=counted,
            reading=reading,
        )


def _schema() -> dict[str, Any]:
    import polars as pl

    return {
        "document": pl.UInt32,
        "key": pl.UInt64,
        "digest": pl.UInt64,
        "cut": pl.Boolean,
        "start": pl.Int64,
        "prompt_id": pl.String,
        "window": pl.UInt32,
        "group": pl.String,
        "source": pl.String,
        "line": pl.UInt32,
        "n_tokens": pl.UInt16,
        "n_kept": pl.UInt16,
        "token_sha256": pl.String,
        "text": pl.String,
    }


def _public(table: Any, keep_text: bool) -> Any:
    import polars as pl

    names = ["prompt_id", "window", "group", "split", "source", "line", "n_tokens", "n_kept", "token_sha256"]
    prompt = pl.Series("prompt", np.arange(len(table), dtype=np.uint32))
    return table.select([prompt, *names, *(["text"] if keep_text else [])])


def _content(text: Text) -> str:
    from json import dumps

    return dumps(list(text.messages), ensure_ascii=False) if text.messages else text.text


def _check_ids(table: Any) -> None:
    """No id twice: two documents of one id would be one prompt to every reader."""
    import polars as pl

    owners = table.group_by("prompt_id").agg(pl.col("document").n_unique().alias("n")).filter(pl.col("n") > 1)
    if len(owners):
        raise twice(str(owners["prompt_id"].sort()[0]))


def _paid(table: Any, budget: int) -> NDArray[np.bool_]:
    """Windows of the documents that a budget of kept rows pays for, in the order of their hashes."""
    import polars as pl

    documents = (
        table.group_by("document")
        .agg(pl.col("n_kept").cast(pl.Int64).sum(), pl.col("key").first())
        .sort("key", "document")
    )
    paid = max(int((documents["n_kept"].cum_sum() <= budget).sum()), 1)
    return table["document"].is_in(documents["document"][:paid].implode()).to_numpy()


def _sides(table: Any, limits: Limits) -> list[Split]:
    """The side of each window's group, after groups with an equal document are united under their smallest name."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    names = table["group"].unique().sort()
    group = table["group"].rank("dense").to_numpy().astype(np.int64) - 1
    _, digest = np.unique(table["digest"].to_numpy(), return_inverse=True)
    n, total = len(names), len(names) + int(digest.max()) + 1
    edges = coo_array((np.ones(len(group), np.int8), (group, n + digest)), shape=(total, total))
    _, component = connected_components(edges, directed=False)
    # Names are sorted, so the first group of a component is its smallest name.
    _, first, own = np.unique(component[:n], return_index=True, return_inverse=True)
    sides = np.array([side(names[int(i)], limits.salt, limits.validation) for i in first], dtype=object)
    return sides[own][group].tolist()


def side(group: str, salt: int, validation: float) -> Split:
    """Where a group goes."""
    digest = hashlib.blake2b(group.encode(), key=f"radiograph.split/{salt}".encode(), digest_size=8).digest()
    return "validation" if int.from_bytes(digest, "big") < validation * 2**64 else "train"


def _sink(folder: Path | None, name: str) -> BytesIO | BufferedRandom:

    return BytesIO() if folder is None else (folder / f"{name}.bin").open("w+b")


def _array(sink: BytesIO | BufferedRandom, dtype: np.dtype[Any]) -> NDArray[Any]:
    """What was written: mapped, where it is a file."""
    if isinstance(sink, BytesIO):
        return np.frombuffer(sink.getbuffer(), dtype)
    sink.flush()
    return np.memmap(sink.name, dtype, mode="r")
