"""Numbers that know where they stand: a document whose every number carries its JSON pointer (RFC 6901).

A page is written from `pointed(document)`. Numbers stay numbers (they compare, sort and add up as before, sums losing
the pointer), so a template cannot print one from the document without saying where it comes from; `verify` walks the
same way back with `resolve` and `shown`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from radiograph.core import visible

ABSENT = "–"
_LEADING_ZERO = re.compile(r"(?<![\d.])0(?=\.\d)")
_NEGATIVE_ZERO = re.compile(r"^-(?=[0.,]*%?$)")


class PointedFloat(float):
    """A float and its place in the document."""

    pointer: str


class PointedInt(int):
    """An integer and its place in the document."""

    pointer: str


class PointedText(str):
    """A text and its place, for the few words that decide (a verdict): only where asked for, by `point`."""

    __slots__ = ("pointer",)
    pointer: str


Pointed = PointedFloat | PointedInt | PointedText


def pointed(value: Any, pointer: str = "") -> Any:
    """The same plain data, each number in it with its pointer."""
    if value is None or isinstance(value, str | bool):  # most of a document, and the cheapest to tell
        return value
    if isinstance(value, Mapping):
        return {k: pointed(v, f"{pointer}/{_escaped(str(k))}") for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [pointed(v, f"{pointer}/{i}") for i, v in enumerate(value)]
    if not isinstance(value, int | float):
        return value
    number = PointedFloat(value) if isinstance(value, float) else PointedInt(value)
    number.pointer = pointer
    return number


def point(document: Mapping[str, Any], pointer: str) -> PointedText:
    """A text of the document with its pointer."""
    text = PointedText(resolve(document, pointer))
    text.pointer = pointer
    return text


def resolve(document: Any, pointer: str) -> Any:
    """What a JSON pointer points to.

    Raises:
        LookupError: nothing is there.
    """
    if pointer and not pointer.startswith("/"):
        raise LookupError(f"{pointer!r} is no JSON pointer")
    value = document
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, Mapping):
            value = value[key]
        elif isinstance(value, Sequence) and not isinstance(value, str) and key.isdecimal():
            value = value[int(key)]
        else:
            raise LookupError(f"{pointer!r} leads nowhere")
    return value


def shown(value: Any, spec: str) -> str:
    """A value as the page shows it: Python's format language, true minus signs; a final `!` drops a 0 before the point.

    Raises:
        ValueError: a format that does not fit the value.
    """
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return visible(value)
    plain = float(value) if isinstance(value, float) else int(value)
    text = format(plain, spec.removesuffix("!"))
    if spec.endswith("!"):
        text = _LEADING_ZERO.sub("", text)
    return _NEGATIVE_ZERO.sub("", text).replace("-", "−")


def default_format(value: float) -> str:
    """Whole numbers in full, the rest to four significant digits."""
    return ",d" if isinstance(value, int) else ".4g"


@cache
def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
