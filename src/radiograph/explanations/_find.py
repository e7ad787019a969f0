"""The explainers there are: every module of `explainers` without an underscore, and what other packages register.

An explainer has a docstring whose first line says what it does, `lacks(study) -> str | None` (what must be given for
it) and `explain(study) -> Explained`. Adding a file adds one; other packages join through the entry-point group
`radiograph.explainers` (name, module). Verbalizers are found likewise: modules of `verbalizers` with
`lacks(given) -> str | None` and `make(given) -> (Verbalizer, Reconstructor | None)`, group `radiograph.verbalizers`.
Scorers too: modules of `scorers` with `questions(judged, feature, seed, explanation) -> list[Question]` for a judge,
group `radiograph.scorers`; those of other packages say by `UNIT` in what their answers are measured.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol, cast

from radiograph.core import FormatError, UserError, held, nearest, plugins
from radiograph.explanations._study import Explained, Study

_CALLS: Final = {
    "explainers": ("lacks(study)", "explain(study)"),
    "verbalizers": ("lacks(given)", "make(given)"),
    "scorers": ("questions(judged, feature, seed, explanation)",),
}


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


def explained(name: str, study: Study) -> Explained:
    """What an explainer says of a study that it lacks nothing of.

    Raises:
        FormatError: one of another package gives back something else, or not one explanation a feature.
    """
    said = held(explainer(name).explain(study), Explained, "radiograph.explainers", name)
    if len(said.explanations) != len(study.material):
        raise FormatError(
            f"the explainer {name!r} did not answer for each feature",
            expected=f"{len(study.material)} explanations, in the order of the material",
            got=str(len(said.explanations)),
            fix="mend the package that brings it; a feature without words has text=None and says why",
        )
    return said


def verbalizer_module(name: str) -> Any:
    """A module that makes verbalizers, by name.

    Raises:
        UserError: there is none; the nearest are named.
    """
    return _named(name, "verbalizers")


def scorer_module(name: str) -> Any:
    """A module that asks judges, by name; `rule` asks none.

    Raises:
        UserError: there is none; the nearest are named.
    """
    return _named(name, "scorers")


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
    return plugins(home, f"radiograph.{folder}", folder.removesuffix("s"), _CALLS[folder])
