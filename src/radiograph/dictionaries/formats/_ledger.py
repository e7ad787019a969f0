"""Names that somebody else wrote, each of which must be used or known to decide nothing.

A reader takes what it understands and names what it may leave; what then remains is an error, not a thing to ignore:
a tensor that nobody read is a function that nobody reproduced. A configuration also tells how training went, in more
keys than anyone can list; of such a document (`describes`) a key remains if its name says that it decides a function:

1. it is not off: null, false, zero, empty, "none"   2. its name holds a word of `_DECIDES`: what moves or scales rows
and codes, which weights act, which codes survive   3. and none of `_TRAINED`: the same words for how weights began and
what they were punished for, as in `decoder_init_norm`. Mappings inside are searched in the same way
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, Final

from torch import Tensor

from radiograph.core import FormatError, nearest

_MISSING: Any = object()
_OFF: Final = ("", "none", "null", "false", "off")
_WORDS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+")
# Names are read as words: `topK`, `top_k` and `top-k` are the same. A model called Transformer and an expansion factor,
# which the shapes repeat, are no reason to refuse a file.
_DECIDES: Final = re.compile(
    r"norm|scal|whiten|\b(?:re|un)?cent(?:er|r)|\brms\b|\bmean\b|\bstd\b|(?<!expansion )\bfactor|\bshift|offset"
    r"|transform(?!er)|reshape|\bapply\b|subtract|\bfold"
    r"|bias|\bb (?:dec|enc)\b|skip|affine|\btied?\b"
    r"|\bact(?:ivation)?s? (?:fn|func|type|name|kwargs)|\b(?:pre|post)?act(?:ivation)?(?: fn)?$|relu|glu\b|\bgated?\b"
    r"|threshold|\btop ?k\b|\bk\b|clamp|\bclip|\bsigned\b|temperature"
)
_TRAINED: Final = re.compile(r"\binit|warm ?up|anneal|\bsteps?\b|loss|\bmse\b|penalty|\baux|\bdead\b|\bgrad|\blr\b")


class Ledger:
    """The tensors of a file, or the keys of a document, and which of them were taken."""

    def __init__(self, items: Mapping[str, Any], where: str) -> None:
        self._items = items
        self.where = where
        self._open: set[str] = set(items)
        self._known: tuple[str, ...] | None = None
        self._parts: list[Ledger] = []

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name there is, taken or not."""
        return tuple(self._items)

    def take(self, name: str, default: Any = _MISSING) -> Any:
        """The value of a name, which is accounted for from here on.

        Raises:
            FormatError: it is not there, and no default was given.
        """
        self._open.discard(name)
        if name in self._items:
            return self._items[name]
        if default is not _MISSING:
            return default
        close = nearest(name, list(self._items))
        raise FormatError(f"{name!r} is missing", where=self.where, fix=f"is it {', '.join(close)}?" if close else None)

    def tensor(self, name: str, shape: tuple[int | None, ...] | None = None, default: Any = _MISSING) -> Tensor:
        """A floating-point tensor; `None` in `shape` fits any length.

        Raises:
            FormatError: missing, no tensor of numbers, or of another shape.
        """
        value = self.take(name, default)
        if value is default and default is not _MISSING and name not in self._items:
            return value
        where = f"{self.where}: {name}"
        if not isinstance(value, Tensor) or not (value.is_floating_point() or value.ndim == 0):
            raise FormatError(f"{name} is not a tensor of numbers", where=where, got=type(value).__name__)
        if shape is not None and (
            value.ndim != len(shape) or any(w is not None and w != g for w, g in zip(shape, value.shape, strict=True))
        ):
            expected = ["any" if w is None else w for w in shape]
            raise FormatError(f"shape of {name}", where=where, expected=str(expected), got=str(list(value.shape)))
        return value if value.is_floating_point() else value.float()

    def number(self, name: str) -> float:
        """A number, also one stored as a tensor without dimensions.

        Raises:
            FormatError: missing, or no number.
        """
        value = self.take(name)
        if isinstance(value, Tensor) and value.numel() == 1:
            value = value.item()
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise FormatError(f"{name} is not a number", where=f"{self.where}: {name}", got=repr(value)[:80])
        return float(value)

    def integer(self, name: str) -> int:
        """A whole number.

        Raises:
            FormatError: missing, or not whole.
        """
        value = self.number(name)
        if value != int(value):
            raise FormatError(f"{name} is not whole", where=f"{self.where}: {name}", got=str(value))
        return int(value)

    def part(self, name: str, default: Any = _MISSING) -> Ledger:
        """A mapping inside this one, with its own account.

        Raises:
            FormatError: missing, or no mapping.
        """
        value = self.take(name, default)
        where = f"{self.where}: {name}"
        if not isinstance(value, Mapping):
            raise FormatError(f"{name} is not a mapping", where=where, got=type(value).__name__)
        ledger = Ledger({str(k): v for k, v in value.items()}, where)
        self._parts.append(ledger)
        return ledger

    def expect(self, name: str, *allowed: Any) -> None:
        """Take a key that may be absent, or have one of these values; anything else is a function not known here.

        Raises:
            FormatError: another value.
        """
        value = self.take(name, None)
        if value is not None and value not in allowed:
            raise FormatError(
                f"{name} = {value!r} is not supported",
                where=f"{self.where}: {name}",
                expected=" or ".join(map(repr, allowed)) or "absent",
            )

    def ignore(self, *patterns: str) -> None:
        """Names that decide nothing: descriptions, training settings. Shell patterns."""
        self._open = {n for n in self._open if not any(fnmatchcase(n, pattern) for pattern in patterns)}

    def describes(self, *known: str) -> None:
        """A document that also describes training: of what nobody takes, only the keys that decide a function remain.

        `known` has those that look as if they did, and decide nothing in what was trained. Shell patterns.
        """
        self._known = known

    def close(self) -> None:
        """Everything here was used or known to decide nothing.

        Raises:
            FormatError: a name was not, all such names in one error.
        """
        for part in self._parts:
            part.close()
        left = self._open if self._known is None else self._deciding(self._known)
        if left:
            raise FormatError(
                f"unknown {', '.join(sorted(left))}",
                where=self.where,
                expected="nothing that this reader does not understand",
                fix="choose another --format, or report the file",
            )

    def _deciding(self, known: tuple[str, ...]) -> set[str]:
        found: set[str] = set()
        rest: list[tuple[tuple[str, ...], Any]] = [((name,), self._items[name]) for name in self._open]
        while rest:
            path, value = rest.pop()
            if _off(value) or any(fnmatchcase(path[-1], pattern) for pattern in known):
                continue
            if _decides(path[-1]):
                found.add(".".join(path))
            elif isinstance(value, Mapping):
                rest += [((*path, str(key)), item) for key, item in value.items()]
            elif isinstance(value, list):
                rest += [((*path, str(n)), item) for n, item in enumerate(value) if isinstance(item, Mapping)]
        return found


def _decides(name: str) -> bool:
    words = _WORDS.sub(" ", name).lower()
    return bool(_DECIDES.search(words)) and not _TRAINED.search(words)


def _off(value: Any) -> bool:
    if isinstance(value, Tensor):
        return not bool(value.any())
    return value.lower() in _OFF if isinstance(value, str) else not value
