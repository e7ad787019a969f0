"""Does every number on a page still say what the result says? Needs no figure library, only the two files.

1. read `report.html` for its `<data data-pointer=… data-format=… value=…>text</data>` elements
2. follow each pointer into `result.json`; `value` must be the stored value, and the text that value in that format
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from radiograph.reports._numbers import resolve, shown

_TELL = 20
"""Problems spelled out before the rest is counted."""


@dataclass
class _Claim:
    """One number as the page shows it."""

    pointer: str
    format: str
    value: str
    line: int
    text: str = ""


class _Claims(HTMLParser):
    """Collects the `<data>` elements of a page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[_Claim] = []
        self._open: _Claim | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "data" and "data-pointer" in given:
            line, _ = self.getpos()
            self._open = _Claim(
                given["data-pointer"] or "", given.get("data-format") or "", given.get("value") or "", line
            )
            self.found.append(self._open)

    def handle_endtag(self, tag: str) -> None:
        if tag == "data":
            self._open = None

    def handle_data(self, data: str) -> None:
        if self._open is not None:
            self._open.text += data


def broken_pointers(run_folder: Path) -> tuple[list[str], int]:
    """Numbers of `report.html` that do not follow from `result.json`, in words, and how many were checked."""
    try:
        html = (run_folder / "report.html").read_text("utf-8")
        document = json.loads((run_folder / "result.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        return [f"cannot be compared with result.json: {type(error).__name__}"], 0
    reader = _Claims()
    reader.feed(html)
    reader.close()
    problems = [text for claim in reader.found if (text := _problem(claim, document))]
    rest = len(problems) - _TELL
    return problems[:_TELL] + ([f"and {rest} more"] if rest > 0 else []), len(reader.found)


def _problem(claim: _Claim, document: Any) -> str | None:
    place = f"line {claim.line}: {claim.pointer}"
    try:
        stored = resolve(document, claim.pointer)
    except LookupError:
        return f"{place} points to nothing"
    if isinstance(stored, dict | list):
        return f"{place} points to no single value"
    if claim.value != json.dumps(stored):
        return f"{place} says {claim.value}, stored is {json.dumps(stored)}"
    try:
        expected = shown(stored, claim.format)
    except ValueError:
        return f"{place}: {claim.format!r} is no format for {json.dumps(stored)}"
    return None if claim.text == expected else f"{place} shows {claim.text!r}, stored is {expected!r}"
