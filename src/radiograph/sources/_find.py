"""The kinds of sources there are: every module of `kinds` without an underscore, and what other packages register.

A kind has a docstring whose first line says how it is written and what it gives, and
`open(reference, parts) -> Live | Stored | Dumped`. Adding a file adds a kind; other packages join through the
entry-point group `radiograph.sources` (name of the kind, module).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

from radiograph.core import UserError, held, nearest, plugins
from radiograph.sources._given import Dumped, Given, Live, Stored
from radiograph.sources._grammar import Reference
from radiograph.sources._parts import Parts

GROUP = "radiograph.sources"


class Kind(Protocol):
    """What a module of a kind offers."""

    def open(self, reference: Reference, parts: Parts) -> Given:
        """Find and check what a reference names."""
        ...


def kinds() -> dict[str, Kind]:
    """Every kind by name, sorted.

    Raises:
        FormatError: another package registers something that is no kind.
    """
    return {name: cast(Kind, load()) for name, load in _known().items()}


def open_source(text: str, parts: Parts) -> Given:
    """What a source gives.

    Raises:
        UserError: no such kind (the nearest are named), or what the kind refuses.
    """
    reference = Reference.parse(text)
    known = _known()
    if reference.kind not in known:
        close = nearest(reference.kind, list(known))
        raise UserError(
            f"no source of features of the kind {reference.kind!r}",
            expected=", ".join(known),
            got=text,
            fix=f"did you mean {', '.join(close)}?" if close else "write KIND:WHERE, as dictionary:FOLDER",
            code="unknown_source",
        )
    return held(known[reference.kind]().open(reference, parts), (Live, Stored, Dumped), GROUP, reference.kind)


def _known() -> dict[str, Callable[[], Any]]:
    return plugins(f"{__name__.rpartition('.')[0]}.kinds", GROUP, "kind", ("open(reference, parts)",))
