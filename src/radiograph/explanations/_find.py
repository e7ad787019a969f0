"""The explainers there are: every module of `explainers` without an underscore, and what other packages register.

An explainer has a docstring whose first line says what it does, `lacks(study) -> str | None` (what must be given for
it) and `explain(study) -> Explained`. Adding a file adds one; other packages join through the entry-point group
`radiograph.explainers` (name, module). Verbalizers are found likewise: modules of `verbalizers` with
`lacks(given) -> str | None` and `make(given) -> Verbalizer`, group `radiograph.verbalizers`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol, cast

from radiograph.core import UserError, nearest, plugins
from radiograph.explanations._study import Explained, Study

_CALL: Final = {"explainers": "explain", "verbalizers": "make"}


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
    return cast(Explainer, _named(name, "explainers"))


def verbalizer_module(name: str) -> Any:
    """A module that makes verbalizers, by name.

    Raises:
        UserError: there is none; the nearest are named.
    """
    return _named(name, "verbalizers")


def names(folder: str) -> list[str]:
    """Every name of a kind, sorted."""
    return list(_modules(folder))


def _named(name: str, folder: str) -> Any:
    known = _modules(folder)
    if name not in known:
        close = nearest(name, list(known))
        raise UserError(
            f"no {folder.removesuffix('s')} {name!r}",
            expected=", ".join(known),
            fix=f"did you mean {', '.join(close)}?" if close else None,
            code="bad_value",
        )
    return known[name]()


def _modules(folder: str) -> dict[str, Callable[[], Any]]:
    home = f"{__name__.rpartition('.')[0]}.{folder}"
    return plugins(home, f"radiograph.{folder}", folder.removesuffix("s"), ("lacks", _CALL[folder]))
