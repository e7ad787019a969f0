"""Where texts come from: lists, files, suites, the small world, hub datasets.

    FILE.jsonl[.gz]   one object a line     FILE.parquet   one row a text       (fields: see `Fields`)
    FILE.txt          a blank line ends a prompt, or every line is one (`per="line"`)
    suite:FILE        the prompts of a suite, group by group
    world:DOMAIN…     documents of the small world         both are handed in, since this package knows neither
    hf:NAME[:CONFIG]@REVISION#SPLIT    rows of a hub dataset, streamed (see `_datasets`)

A text is plain (`text`), a conversation (`messages`) or ready (`tokens`). An id that is not given is the place of the
text in its source; a group that is not given is the id. A subset is the texts with the smallest keyed hash of
(seed, id), never the first n, so that it does not depend on the order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from radiograph.core import FormatError, UserError

World = Callable[[str], Iterable[str]]
Message = dict[str, str]
FORMS = "*.jsonl, *.jsonl.gz, *.parquet, *.txt, suite:FILE, world:DOMAIN or hf:NAME@REVISION#SPLIT"


@dataclass(frozen=True, slots=True)
class Text:
    """One document or prompt. Rows of one group stay on one side of a split."""

    id: str
    text: str
    group: str
    messages: tuple[Message, ...] = ()
    """A conversation, instead of `text`."""
    tokens: tuple[int, ...] = ()
    """Token ids, instead of `text`; taken as they are."""
    prefill: bool = False
    """The last message is the start of an answer that goes on."""
    source: str = ""
    line: int = 0
    """Where it stands in its source, from 1; 0 where sources have no lines."""


@dataclass(frozen=True, slots=True)
class Fields:
    """What the columns of a source are called, and how a plain text file is divided."""

    text: str = "text"
    messages: str = "messages"
    tokens: str = "tokens"
    id: str | None = None
    """None: `prompt_id`, else `id`."""
    group: str = "group_id"
    per: Literal["file", "line"] = "file"
    """`line`: every line of a .txt file is a prompt."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Columns that may hold the id, first match wins."""
        return (self.id,) if self.id else ("prompt_id", "id")


def read(
    source: str | Path | Sequence[str], *, fields: Fields | None = None, world: World | None = None, **names: Any
) -> list[Text]:
    """Every text of a source, in its order. `names` are fields of `Fields` with `_field` after them, or `per`.

    Raises:
        UserError: no such file, an unknown kind of source, an empty source, an id twice.
        FormatError: a line or row without text, messages or tokens; names file and line.
    """
    fields = fields or Fields(**{key.removesuffix("_field"): value for key, value in names.items()})
    texts = list(texts_of(source, fields, world=world))
    if not texts:
        raise UserError(
            "the source holds no text", got=str(source) if isinstance(source, str | Path) else "an empty list"
        )
    seen: set[str] = set()
    for text in texts:
        if text.id in seen:
            raise twice(text.id)
        seen.add(text.id)
    return texts


def texts_of(
    source: str | Path | Sequence[str],
    fields: Fields,
    *,
    world: World | None = None,
    prefix: str = "",
    name: str | None = None,
) -> Iterator[Text]:
    """The texts of one source, one after the other.

    Args:
        source: a file, `world:…`, `hf:…` or a list of texts.
        fields: names of columns.
        world: gives the documents of `world:…`.
        prefix: goes before ids that the source does not give, so that those of several sources differ.
        name: how the source is called in what is stored; a path is not.
    """
    if isinstance(source, str) and source.startswith("world:"):
        yield from _of_world(source, world)
    elif isinstance(source, str) and source.startswith("hf:"):
        from radiograph.harvest._datasets import Dataset

        for number, row in enumerate(Dataset.parse(source).rows(), 1):
            yield text_of(row, number, source, fields, prefix=prefix, name=source)
    elif isinstance(source, str | Path):
        from radiograph.harvest._files import rows_of

        path = Path(source)
        for number, row in rows_of(path, fields.per):
            yield text_of(row, number, str(path), fields, prefix=prefix, name=name or path.name)
    else:
        for number, text in enumerate(source):
            yield Text(f"{prefix}{number}", text, f"{prefix}{number}")


def text_of(row: Any, number: int, where: str, fields: Fields, *, prefix: str = "", name: str = "") -> Text:
    """One row of columns as a text. `row` may be a plain text, which has no columns.

    Raises:
        FormatError: neither text nor messages nor tokens, or one of another kind.
    """
    if isinstance(row, str):
        return Text(f"{prefix}{number}", row, f"{prefix}{number}", source=name, line=number)
    place = f"{where}:{number}"
    if not isinstance(row, dict):
        raise FormatError("not a JSON object", where=place, got=type(row).__name__)
    own = next((str(row[f]) for f in fields.ids if row.get(f) is not None), f"{prefix}{number}")
    group = row.get(fields.group)
    empty = Text(own, "", own if group is None else str(group), source=name, line=number)
    if row.get(fields.tokens) is not None:
        return replace(empty, tokens=_tokens(row[fields.tokens], place, fields.tokens))
    if isinstance(row.get(fields.text), str):
        return replace(empty, text=row[fields.text])
    if row.get(fields.messages) is not None:
        return replace(empty, messages=_messages(row[fields.messages], place, fields.messages))
    raise FormatError(
        f"no text in field {fields.text!r}, no {fields.messages!r}, no {fields.tokens!r}",
        where=place,
        got=", ".join(map(str, row)) or "no field",
        fix="name the column with --text-field, --messages-field",
    )


def subset(texts: Sequence[Text], count: int, seed: int) -> list[Text]:
    """The `count` texts with the smallest keyed hash of (seed, id), in the order of the source."""
    kept = {text.id for text in sorted(texts, key=lambda t: (drawn(seed, t.id), t.id))[:count]}
    return [text for text in texts if text.id in kept]


def drawn(seed: int, name: str) -> int:
    """The keyed hash of an id, 64 bits: the order in which a subset takes texts."""
    return int.from_bytes(hashlib.blake2b(name.encode(), key=str(seed).encode(), digest_size=8).digest(), "big")


def twice(name: str) -> UserError:
    """Two texts of one id."""
    return UserError(f"id {name!r} stands twice in the source", fix="give every prompt its own id", code="id_twice")


def _tokens(value: Any, where: str, field: str) -> tuple[int, ...]:
    found = value.tolist() if hasattr(value, "tolist") else value
    if not isinstance(found, list) or not all(isinstance(i, int) and not isinstance(i, bool) for i in found):
        raise FormatError(f"{field!r} is not a list of token ids", where=where, got=str(found)[:80])
    return tuple(found)


def _messages(value: Any, where: str, field: str) -> tuple[Message, ...]:
    found = value.tolist() if hasattr(value, "tolist") else value
    fits = isinstance(found, list) and all(
        isinstance(m, dict) and isinstance(m.get("role"), str) and isinstance(m.get("content"), str) for m in found
    )
    if not fits or not found:
        raise FormatError(f"{field!r} is not a list of {{role, content}}", where=where, got=str(found)[:80])
    return tuple({"role": m["role"], "content": m["content"]} for m in found)


def _of_world(source: str, world: World | None) -> Iterator[Text]:
    if world is None:
        raise UserError("no small world here to read from", got=source)
    for number, text in enumerate(world(source)):
        yield Text(f"{source}/{number}", text, f"{source}/{number}", source=source)


@dataclass(frozen=True, eq=False)
class Corpus:
    """Texts of several sources, one source after the other, read anew each time they are iterated."""

    parts: tuple[Callable[[], Iterable[Text]], ...]
    hashes: dict[str, str]
    """Source, as it may be stored, to the hash of what it holds."""

    def __iter__(self) -> Iterator[Text]:
        for part in self.parts:
            yield from part()
