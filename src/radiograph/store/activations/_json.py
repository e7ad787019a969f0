"""`.json`: `{"activations": [[…], …]}`, a row at a time, into a temporary file of float64 that no name leads to.

1. the file is read in blocks and cut at the end of every row, so that memory holds one row, whatever the file holds
2. every row is a list of numbers of one length; the first that is not is named by its number
3. the other keys are read whole: `layer`, `hook`, `num_tokens` are checked, `site` and hashes taken
Refuses a list at the top, a key twice, a file above the limit `json-bytes`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from radiograph.core import FormatError
from radiograph.core.limits import Limits
from radiograph.store.activations._arrays import flat_rows
from radiograph.store.activations._store import COLUMNS, Found, check_shape
from radiograph.store.opened import Opened

BLOCK: Final = 2**18
SPACE: Final = " \t\r\n"
KEY: Final = "activations"
REST_BYTES: Final = 64 * 2**20
"""Of everything but the rows, ids included."""


def read_json(file: Opened, limits: Limits) -> Found:
    """Shape, type, rows, ids and the other keys.

    Raises:
        FormatError: not such a document. UserError: larger than the limit.
    """
    limits.check("json-bytes", file.size, f"{file.name}", file.name)
    with tempfile.TemporaryFile() as spool:
        document, shape = _document(_Text(file), spool, file.name, limits)
        spool.flush()
        held = Opened(spool, file.name)
    stated = document.get("num_tokens")
    if stated is not None and stated != shape[0]:
        raise FormatError(
            "num_tokens is not the number of rows",
            where=f"{file.name}: num_tokens",
            expected=str(shape[0]),
            got=str(stated),
        )
    ids = {name: np.asarray(document[name]) for name in COLUMNS if name in document}
    return Found(shape, "float64", flat_rows(held, 0, np.dtype(np.float64), shape), ids, document)


class _Text:
    """Characters of a file, block by block; ASCII alone, since JSON of numbers needs no more outside texts."""

    def __init__(self, file: Opened) -> None:
        self.file, self.at, self.held, self.place = file, 0, "", 0

    def more(self, least: int = 0) -> bool:
        """Read another block, or as many bytes as `least`, or what is left; whether there was anything."""
        if self.at >= self.file.size:
            return False
        count = min(max(BLOCK, least), self.file.size - self.at)
        try:
            # Latin-1 maps bytes one to one, so that a cut inside a character does no harm; texts are decoded later.
            self.held = self.held[self.place :] + self.file.part(self.at, count).decode("latin-1")
        finally:
            self.place = 0
        self.at += count
        return True

    def next(self) -> str:
        """The next character that is no space, not taken; empty at the end."""
        while True:
            while self.place < len(self.held) and self.held[self.place] in SPACE:
                self.place += 1
            if self.place < len(self.held):
                return self.held[self.place]
            if not self.more():
                return ""

    def take(self, character: str, what: str) -> None:
        """Take a character that must come.

        Raises:
            FormatError: another one comes.
        """
        if (found := self.next()) != character:
            where = self.at - len(self.held) + self.place
            got = repr(found) if found else "the end of the file"
            raise FormatError(
                f"not the JSON of {what}", where=f"{self.file.name}: byte {where}", expected=repr(character), got=got
            )
        self.place += 1

    def until(self, end: str, most: int) -> str:
        """The text up to and with the next `end`."""
        searched = self.place
        while (found := self.held.find(end, searched)) < 0:
            searched = max(0, len(self.held) - self.place)
            if searched > most or not self.more():
                raise FormatError("a row does not end", where=self.file.name, expected=repr(end))
        part, self.place = self.held[self.place : found + 1], found + 1
        return part

    def value(self, what: str) -> Any:
        """Any JSON value; the whole of it is held."""
        decoder = json.JSONDecoder()
        self.next()
        while True:
            try:
                found, end = decoder.raw_decode(self.held, self.place)
                # A number at the edge of a block may go on in the next one.
                if end < len(self.held) or not self.more():
                    self.place = end
                    return _decoded(found)
            except (json.JSONDecodeError, RecursionError) as error:
                held = len(self.held) - self.place
                # A value is read again from its beginning: as much again is taken each time, so that this adds up.
                if held > REST_BYTES or not self.more(held):
                    raise FormatError(f"{what} is not JSON", where=self.file.name, got=str(error)) from error


def _decoded(value: Any) -> Any:
    """Texts that were read byte by byte as UTF-8."""
    if isinstance(value, str):
        try:
            return value.encode("latin-1").decode()
        except (UnicodeEncodeError, UnicodeDecodeError):
            return value
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    if isinstance(value, dict):
        return {_decoded(key): _decoded(item) for key, item in value.items()}
    return value


def _document(text: _Text, spool: IO[bytes], name: str, limits: Limits) -> tuple[dict[str, Any], tuple[int, int]]:
    if text.next() != "{":
        found = text.next()
        got = {"[": "a list", "": "an empty file"}.get(found, f"something that begins with {found!r}")
        raise FormatError("not a document of activations", where=name, expected='{"activations": [[…], …]}', got=got)
    text.take("{", "activations")
    document: dict[str, Any] = {}
    shape: tuple[int, int] | None = None
    while text.next() != "}":
        if document or shape:
            text.take(",", "activations")
        key = text.value("a key")
        text.take(":", "activations")
        if not isinstance(key, str) or key in document or (key == KEY and shape):
            raise FormatError("a key stands twice", where=f"{name}: {key}")
        if key == KEY:
            shape = _rows(text, spool, name, limits)
        else:
            document[key] = text.value(key)
    text.take("}", "activations")
    if text.next():
        raise FormatError("something follows the document", where=name, got=repr(text.next()))
    if shape is None:
        raise FormatError(
            "no activations in the document", where=name, expected=KEY, got=", ".join(document) or "no keys"
        )
    return document, shape


def _rows(text: _Text, spool: IO[bytes], name: str, limits: Limits) -> tuple[int, int]:
    """Write every row to `spool`; returns their number and width."""
    text.take("[", "activations")
    rows, width = 0, 0
    for row in _lists(text, name, limits["width"]):
        values = _numbers(row, rows, name)
        if rows == 0:
            width = len(values)
            limits.check("width", width, name, f"{name}: row 0")
        if len(values) != width:
            raise FormatError(
                "rows of different lengths",
                where=f"{name}: row {rows}",
                expected=f"{width} numbers, as in row 0",
                got=str(len(values)),
            )
        spool.write(values.data.cast("B"))
        rows += 1
        limits.check("tokens", rows, name, name)
    return check_shape((rows, width), name)


def _lists(text: _Text, name: str, width: int) -> Iterator[str]:
    number = 0
    while text.next() != "]":
        if number:
            text.take(",", f"row {number}")
        if text.next() != "[":
            raise FormatError(
                "activations are a list of lists",
                where=f"{name}: row {number}",
                expected="a list of numbers",
                got=text.held[text.place : text.place + 20] or "the end of the file",
            )
        yield text.until("]", most=64 * width)
        number += 1
    text.take("]", "activations")


def _numbers(row: str, number: int, name: str) -> NDArray[np.float64]:
    try:
        found = json.loads(row)
    except (json.JSONDecodeError, RecursionError) as error:
        raise FormatError("a row is not JSON", where=f"{name}: row {number}", got=str(error)) from error
    odd = next((i for i, value in enumerate(found) if type(value) not in (float, int)), None)
    if odd is not None:
        raise FormatError(
            "a row holds something that is no number",
            where=f"{name}: row {number}, column {odd}",
            expected="numbers",
            got=json.dumps(found[odd])[:40],
        )
    try:
        return np.asarray(found, np.float64)
    except OverflowError as error:
        raise FormatError("a number is too large", where=f"{name}: row {number}", got=str(error)) from error
