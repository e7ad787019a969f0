"""Where texts come from: lists, JSON Lines, plain text, the small world.

    FILE.jsonl[.gz]   one object a line, fields `text`, `prompt_id|id`, `group_id` (names can be given)
    FILE.txt          a blank line ends a prompt, or every line is one (`per="line"`)
    world:DOMAIN…     handed to the `world` argument, since this package knows no organisms

An id that is not given is the place of the text in its source; a group that is not given is the id. A subset is the
texts with the smallest keyed hash of (seed, id), never the first n, so that it does not depend on the order.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from radiograph.core import FormatError, UserError
from radiograph.core.limits import JSON_LINE_BYTES

World = Callable[[str], Iterable[str]]
ID_FIELDS = ("prompt_id", "id")


@dataclass(frozen=True, slots=True)
class Text:
    """One document or prompt. Rows of one group stay on one side of a split."""

    id: str
    text: str
    group: str


def read(
    source: str | Path | Sequence[str],
    *,
    text_field: str = "text",
    id_field: str | None = None,
    group_field: str = "group_id",
    per: Literal["file", "line"] = "file",
    world: World | None = None,
) -> list[Text]:
    """Every text of a source, in its order.

    Raises:
        UserError: no such file, an unknown kind of source, an empty source, an id twice.
        FormatError: a line that is not a JSON object with the text field; names file and line.
    """
    if isinstance(source, str) and source.startswith("world:"):
        texts = _from_world(source, world)
    elif isinstance(source, str | Path):
        texts = _from_file(Path(source), text_field, id_field, group_field, per)
    else:
        texts = [Text(str(i), text, str(i)) for i, text in enumerate(source)]
    if not texts:
        raise UserError(
            "the source holds no text", got=str(source) if isinstance(source, str | Path) else "an empty list"
        )
    seen: set[str] = set()
    for text in texts:
        if text.id in seen:
            raise UserError(f"id {text.id!r} stands twice in the source", fix="give every prompt its own id")
        seen.add(text.id)
    return texts


def subset(texts: Sequence[Text], count: int, seed: int) -> list[Text]:
    """The `count` texts with the smallest keyed hash of (seed, id), in the order of the source."""

    def key(text: Text) -> tuple[bytes, str]:
        return hashlib.blake2b(text.id.encode(), key=str(seed).encode(), digest_size=16).digest(), text.id

    kept = {text.id for text in sorted(texts, key=key)[:count]}
    return [text for text in texts if text.id in kept]


def _from_world(source: str, world: World | None) -> list[Text]:
    if world is None:
        raise UserError("no small world here to read from", got=source)
    return [Text(f"{source}/{i}", text, f"{source}/{i}") for i, text in enumerate(world(source))]


def _from_file(path: Path, text_field: str, id_field: str | None, group_field: str, per: str) -> list[Text]:
    if not path.is_file():
        raise UserError("no such file", got=str(path))
    if path.name.endswith((".jsonl", ".jsonl.gz")):
        return [_record(*line, path, text_field, id_field, group_field) for line in _lines(path)]
    if path.suffix == ".txt":
        content = path.read_text(encoding="utf-8")
        parts = content.splitlines() if per == "line" else content.split("\n\n")
        return [Text(str(i), part.strip("\n"), str(i)) for i, part in enumerate(p for p in parts if p.strip())]
    raise UserError("unknown kind of source", expected="*.jsonl, *.jsonl.gz, *.txt or world:DOMAIN", got=path.name)


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as handle:
        number = 0
        while line := handle.readline(JSON_LINE_BYTES + 1):
            number += 1
            if len(line) > JSON_LINE_BYTES:
                raise FormatError(
                    "a line is too long", where=f"{path}:{number}", expected=f"<= {JSON_LINE_BYTES} bytes"
                )
            if line.strip():
                yield number, line


def _record(number: int, line: bytes, path: Path, text_field: str, id_field: str | None, group_field: str) -> Text:
    where = f"{path}:{number}"
    try:
        record = json.loads(line)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise FormatError("not a JSON object", where=where, got=str(error)) from error
    if not isinstance(record, dict) or not isinstance(record.get(text_field), str):
        got = ", ".join(record) if isinstance(record, dict) else type(record).__name__
        raise FormatError(f"no text in field {text_field!r}", where=where, got=got)
    fields = (id_field,) if id_field else ID_FIELDS
    name = next((str(record[f]) for f in fields if record.get(f) is not None), str(number))
    group = record.get(group_field)
    return Text(name, record[text_field], name if group is None else str(group))
