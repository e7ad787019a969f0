"""The routes there are: every module of `routes` without an underscore, and what other packages register.

A route has a docstring whose first line says what it does, `lacks(parts) -> str | None` (what must be given for it) and
`draw(parts, seed) -> Drawn`. Adding a file adds a route; other packages join through the entry-point group
`radiograph.criteria` (name of the route, module).
"""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Protocol, cast

from radiograph.core import FormatError
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


@cache
def routes() -> dict[str, Route]:
    """Every route by name, sorted.

    Raises:
        FormatError: another package registers something that is no route.
    """
    home = import_module(f"{__name__.rpartition('.')[0]}.routes")
    names = [module.name for module in pkgutil.iter_modules(home.__path__) if not module.name.startswith("_")]
    found = {name: cast(Route, import_module(f"{home.__name__}.{name}")) for name in names}
    for point in entry_points(group=GROUP):
        module = point.load()
        if point.name in found or not (callable(getattr(module, "lacks", None)) and callable(module.draw)):
            raise FormatError(
                f"{point.value} cannot be the route {point.name!r}",
                expected="a name that is free, and a module with lacks(parts) and draw(parts, seed)",
                where=f"entry point {point.name} = {point.value}",
            )
        found[point.name] = module
    return dict(sorted(found.items()))


def available(parts: Parts) -> dict[str, str | None]:
    """What each route lacks; None for those that can be taken."""
    return {name: route.lacks(parts) for name, route in routes().items()}
