"""The formats there are, and which of them a source is.

Every module of `libraries` and `releases` that does not start with an underscore is a format: it defines `NAME`,
`detect(source) -> bool`, `read(source, options) -> Iterable[Imported]` and, where we can write it,
`write(dictionary, folder)`. Adding a file adds a format.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from radiograph.core import FormatError, UserError, nearest
from radiograph.dictionaries._dictionary import Dictionary
from radiograph.dictionaries._document import DOCUMENT, WEIGHTS
from radiograph.dictionaries.formats._imported import Imported, Options
from radiograph.dictionaries.formats._source import Source

FOLDERS = ("libraries", "releases")
LOOKED_AT = 4
"""Files of tensors that are opened where no format fits, to say whether that is because they cannot be."""


class Format(Protocol):
    """What a module of a format offers."""

    NAME: str

    def detect(self, source: Source) -> bool:
        """Whether file names and keys are those of this format."""
        ...

    def read(self, source: Source, options: Options) -> Iterable[Imported]:
        """Every dictionary of the source, one after the other."""
        ...


class Writer(Format, Protocol):
    """A format that we also write."""

    def write(self, dictionary: Dictionary, folder: Path) -> None:
        """Write into an empty folder, or refuse what the format has no place for."""
        ...


@cache
def formats() -> dict[str, Any]:
    """Every format by name, sorted."""
    package = __name__.rpartition(".")[0]
    found: dict[str, Any] = {}
    for folder in FOLDERS:
        home = import_module(f"{package}.{folder}")
        for module in pkgutil.iter_modules(home.__path__):
            if not module.name.startswith("_"):
                fitting = import_module(f"{home.__name__}.{module.name}")
                assert fitting.NAME not in found, fitting.NAME
                found[fitting.NAME] = fitting
    return dict(sorted(found.items()))


def writers() -> dict[str, Any]:
    """Formats that we write."""
    return {name: module for name, module in formats().items() if hasattr(module, "write")}


def named(name: str, among: dict[str, Any] | None = None) -> Any:
    """The format of a name.

    Raises:
        UserError: none of that name.
    """
    known = formats() if among is None else among
    if name not in known:
        close = nearest(name, list(known))
        raise UserError(
            f"no format {name!r}",
            expected=", ".join(known),
            fix=f"did you mean {close[0]}?" if close else None,
            code="unknown_format",
        )
    return known[name]


def detect(source: Source) -> Format:
    """The one format that fits.

    Raises:
        UserError: `ambiguous_format`, two or more fit. FormatError: none does, or a file cannot be opened safely.
    """
    fitting = [module for module in formats().values() if module.detect(source)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = [module.NAME for module in fitting]
        raise UserError(
            f"the source fits {' and '.join(names)}",
            expected="one format",
            fix=f"say which: --format {names[0]} or --format {names[1]}",
            code="ambiguous_format",
        )
    if DOCUMENT in source and WEIGHTS in source:
        raise UserError(f"{source.root.name!r} is a dictionary of ours already", fix="use it as it is", code="native")
    for name in source.tensor_files[:LOOKED_AT]:
        source.keys(name)
    for error in source.unreadable.values():
        raise error
    raise FormatError(
        f"no known format fits {source.root.name!r}",
        expected=", ".join(formats()),
        got=", ".join(source.names[:12]) or "an empty folder",
        fix="say which with --format, or describe the tensors with --format generic --map FILE.yaml",
    )
