"""The explainers there are: every module of `explainers` without an underscore, and what other packages register.

An explainer has a docstring whose first line says what it does, `lacks(study) -> str | None` (what must be given for
it) and `explain(study) -> Explained`. Adding a file adds one; other packages join through the entry-point group
`radiograph.explainers` (name, module). Verbalizers are found likewise: modules of `verbalizers` with
`lacks(given) -> str | None` and `make(given) -> Verbalizer`, group `radiograph.verbalizers`.
"""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Protocol, cast

from radiograph.core import FormatError, UserError, nearest
from radiograph.explanations._study import Explained, Study


class Explainer(Protocol):
    """What a module of an explainer offers."""

    def lacks(self, study: Study) -> str | None:
        """What would have to be given; None if it can be used."""
        ...

    def explain(self, study: Study) -> Explained:
        """Its words."""
        ...


def explainer(name: str) -> Explainer:
    """An explainer by name.

    Raises:
        UserError: there is none; the nearest are named.
    """
    return cast(Explainer, _named(name, "explainers", "explain"))


def verbalizer_module(name: str) -> Any:
    """A module that makes verbalizers, by name.

    Raises:
        UserError: there is none; the nearest are named.
    """
    return _named(name, "verbalizers", "make")


def names(folder: str) -> list[str]:
    """Every name of a kind, sorted."""
    return sorted(_modules(folder, {"explainers": "explain", "verbalizers": "make"}[folder]))


def _named(name: str, folder: str, call: str) -> Any:
    known = _modules(folder, call)
    if name not in known:
        close = nearest(name, list(known))
        raise UserError(
            f"no {folder.removesuffix('s')} {name!r}",
            expected=", ".join(sorted(known)),
            fix=f"did you mean {', '.join(close)}?" if close else None,
            code="bad_value",
        )
    return import_module(known[name])


@cache
def _modules(folder: str, call: str) -> dict[str, str]:
    """Name to module; a module is imported when it is used."""
    home = import_module(f"{__name__.rpartition('.')[0]}.{folder}")
    found = {
        module.name: f"{home.__name__}.{module.name}"
        for module in pkgutil.iter_modules(home.__path__)
        if not module.name.startswith("_")
    }
    for point in entry_points(group=f"radiograph.{folder}"):
        module = point.load()
        if point.name in found or not (
            callable(getattr(module, "lacks", None)) and callable(getattr(module, call, None))
        ):
            raise FormatError(
                f"{point.value} cannot be the {folder.removesuffix('s')} {point.name!r}",
                expected=f"a name that is free, and a module with lacks and {call}",
                where=f"entry point {point.name} = {point.value}",
            )
        found[point.name] = module.__name__
    return found
