"""One column of parsed rows, checked as a whole; only where a value has another type are rows looked at one by one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from radiograph.core import nearest
from radiograph.store.lines._mistakes import Mistakes


def texts(values: Sequence[Any], numbers: Sequence[int], key: str, mistakes: Mistakes) -> list[str | None]:
    """Texts or nulls; whole numbers, as ids are at times, are spelled out."""
    if set(map(type, values)) <= {str, type(None)}:
        return list(values)
    out: list[str | None] = []
    for value, number in zip(values, numbers, strict=True):
        if isinstance(value, bool) or not isinstance(value, str | int | None):
            mistakes.add(number, f"{key} must be text, got {value!r}")
            value = None
        out.append(value if value is None or isinstance(value, str) else str(value))
    return out


def floats(values: Sequence[Any], numbers: Sequence[int], key: str, mistakes: Mistakes) -> list[float | None]:
    """Finite numbers or nulls; true and false are 1 and 0."""
    if set(map(type, values)) <= {float, type(None)} and all(value is None or math.isfinite(value) for value in values):
        return list(values)
    out: list[float | None] = []
    for value, number in zip(values, numbers, strict=True):
        if value is None or (isinstance(value, int | float) and _finite(value)):
            out.append(None if value is None else float(value))
            continue
        mistakes.add(number, f"{key} must be a finite number, got {value!r}")
        out.append(None)
    return out


def whole_numbers(values: Sequence[Any], numbers: Sequence[int], key: str, mistakes: Mistakes) -> list[int | None]:
    """Whole numbers or nulls."""
    if set(map(type, values)) <= {int, type(None)}:
        return list(values)
    out: list[int | None] = []
    for value, number in zip(values, numbers, strict=True):
        fits = value is None or (isinstance(value, int) and not isinstance(value, bool))
        if not fits:
            mistakes.add(number, f"{key} must be a whole number, got {value!r}")
        out.append(value if fits else None)
    return out


def one_of(
    values: Sequence[Any], numbers: Sequence[int], key: str, known: Sequence[str], mistakes: Mistakes
) -> list[str | None]:
    """Nulls, or one of the known words; of another the nearest are named."""
    out = texts(values, numbers, key, mistakes)
    if set(out) <= {None, *known}:
        return out
    for place, (value, number) in enumerate(zip(out, numbers, strict=True)):
        if value is not None and value not in known:
            close = nearest(value, list(known)) or list(known)
            mistakes.add(number, f"unknown {key} {value!r}; did you mean {' or '.join(close)}?")
            out[place] = None
    return out


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
