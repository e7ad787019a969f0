"""The routes there are: every module of `routes` without an underscore, and what other packages register.

A route has a docstring whose first line says what it does, `lacks(parts) -> str | None` (what must be given for it) and
`draw(parts, seed) -> Drawn`. Adding a file adds a route; other packages join through the entry-point group
`radiograph.criteria` (name of the route, module).
"""

from __future__ import annotations

from typing import Protocol, cast

from radiograph.core import plugins
from radiograph.criteria._parts import Drawn, Parts

GROUP = "radiograph.criteria"


class Route(Protocol):
    """What a module of a route offers."""

    def lacks(self, parts: Parts) -> str | None:
        """What would have to be given; None if the route can be taken."""
        ...

    def draw(self, parts: Parts, seed: int) -> Drawn:
        """Its rows."""
        ...


def routes() -> dict[str, Route]:
    """Every route by name, sorted.

    Raises:
        FormatError: another package registers something that is no route.
    """
    found = plugins(f"{__name__.rpartition('.')[0]}.routes", GROUP, "route", ("lacks(parts)", "draw(parts, seed)"))
    return {name: cast(Route, load()) for name, load in found.items()}


def available(parts: Parts) -> dict[str, str | None]:
    """What each route lacks; None for those that can be taken."""
    return {name: route.lacks(parts) for name, route in routes().items()}
