"""From a verb's result to its page: report.md and report.html.

1. The schema's name chooses a module of `pages/` (`radiograph.audit/1` → `pages/audit.py`, or in a folder of its
   first word, `radiograph.resonance_sweep/1` → `pages/resonance/sweep.py`, or in a folder of `_FOLDERS`)
   and the templates of that name; a result without one gets the generic page. Adding a page touches no other file.
2. The document becomes one whose numbers carry their pointers (`_numbers`), the module adds what must be sorted or
   grouped, and the templates write both files. Equal documents give equal bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from markupsafe import Markup

from radiograph.reports._figure import inlined
from radiograph.reports._numbers import point, pointed

_SCHEMA = re.compile(r"radiograph\.([a-z][a-z0-9_-]*)/\d+")
_PAGES = "radiograph.reports.pages"
_FOLDERS = ("features", "probes", "decompose")
"""Folders of pages whose names say enough without it."""
_EXIT_WORDS = {
    0: "pass",
    2: "the gate failed",
    4: "not measured, or inconclusive",
}


@dataclass(frozen=True)
class Page:
    """A report in both forms."""

    markdown: str
    html: str


def figures(document: Mapping[str, Any]) -> dict[str, bytes]:
    """The figures of a result by name, as SVG; none where there is nothing to draw."""
    special = _special(document)
    return special.figures(document) if special is not None else {}


def page(
    document: Mapping[str, Any],
    *,
    headline: str,
    exit_code: int,
    verb: str,
    summary: str,
    evidence_sha256: str,
    run_id: str,
    inputs: Sequence[Mapping[str, Any]],
    figures: Mapping[str, str],
) -> Page:
    """Write the report of one result; `document` is what `result.json` holds."""
    from radiograph.reports import _environment  # jinja2: readers of a finished page do without it

    special = _special(document)
    name = special.__name__.partition(".pages.")[2].replace(".", "/") if special is not None else "generic"
    places = pointed(document)
    context = {
        "doc": places,
        "headline": headline,
        "exit_code": exit_code,
        "exit_words": _EXIT_WORDS.get(exit_code, "failed"),
        "verb": verb,
        "summary": summary,
        "refused": str(document.get("schema", "")).startswith("radiograph.refused/"),
        "evidence_sha256": evidence_sha256,
        "run_id": run_id,
        "inputs": list(inputs),
        "figures": {k: Markup(inlined(svg, k)) for k, svg in figures.items()},  # noqa: S704 - drawn by `figures`
        "tool_version": version("radiograph"),
        "point": lambda pointer: point(document, pointer),
        "view": special.view(places) if special is not None else {},
    }
    return Page(
        markdown=_environment.markdown().get_template(f"{name}.md.j2").render(context),
        html=_environment.html().get_template(f"{name}.html.j2").render(context),
    )


@cache
def wording() -> str:
    """SHA-256 over the files that write a page: what they say, they say of an equal document in equal bytes."""
    from radiograph import evidence

    digest = sha256()
    for package in (__file__, str(evidence.__file__)):
        root = Path(package).parent
        for path in sorted(p for p in root.rglob("*") if p.suffix in (".py", ".j2", ".css")):
            digest.update(f"{path.relative_to(root).as_posix()}\0{path.stat().st_size}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _special(document: Mapping[str, Any]) -> ModuleType | None:
    match = _SCHEMA.fullmatch(str(document.get("schema", "")))
    if match is None:
        return None
    whole = match[1].replace("-", "_")
    group, _, rest = whole.partition("_")
    # A group's folder is looked for first: the parts of a name that is not there cannot be searched.
    names = [f"{_PAGES}.{group}.{rest}"] if rest and find_spec(f"{_PAGES}.{group}") is not None else []
    places = (*names, f"{_PAGES}.{whole}", *(f"{_PAGES}.{folder}.{whole}" for folder in _FOLDERS))
    found = next((name for name in places if _exists(name)), None)
    return None if found is None else import_module(found)


def _exists(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # the group is a module, not a folder
        return False
