"""The kinds of sources there are: every module of `kinds` without an underscore, and what other packages register.

A kind has a docstring whose first line says how it is written and what it gives, and
`open(reference, parts) -> Live | Stored | Dumped`. Adding a file adds a kind; other packages join through the
entry-point group `radiograph.sources` (name of the kind, module).
"""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Protocol, cast

from radiograph.core import FormatError, UserError, nearest
from radiograph.sources._given import Given
from radiograph.sources._grammar import Reference
from radiograph.sources._parts import Parts

GROUP = "radiograph.sources"


class Kind(Protocol):
    """What a module of a kind offers."""

    def open(self, reference: Reference, parts: Parts) -> Given:
        """Find and check what a reference names."""
        ...


@cache
def kinds() -> dict[str, Kind]:
    """Every kind by name, sorted.

    Raises:
        FormatError: another package registers something that is no kind.
    """
    home = import_module(f"{__name__.rpartition('.')[0]}.kinds")
    names = [module.name for module in pkgutil.iter_modules(home.__path__) if not module.name.startswith("_")]
    found = {name: cast(Kind, import_module(f"{home.__name__}.{name}")) for name in names}
    for point in entry_points(group=GROUP):
        module = point.load()
        if point.name in found or not callable(getattr(module, "open", None)):
            raise FormatError(
                f"{point.value} cannot be the kind {point.name!r}",
                expected="a name that is free, and a module with open(reference, parts)",
                where=f"entry point {point.name} = {point.value}",
            )
        found[point.name] = module
    return dict(sorted(found.items()))


def open_source(text: str, parts: Parts) -> Given:
    """What a source gives.

    Raises:
        UserError: no such kind (the nearest are named), or what the kind refuses.
    """
    reference = Reference.parse(text)
    known = kinds()
    if reference.kind not in known:
        close = nearest(reference.kind, list(known))
        raise UserError(
            f"no source of features of the kind {reference.kind!r}",
            expected=", ".join(known),
            got=text,
            fix=f"did you mean {', '.join(close)}?" if close else "write KIND:WHERE, as dictionary:FOLDER",
            code="unknown_source",
        )
    return known[reference.kind].open(reference, parts)
