"""Families of fine-tunes, one file each, in a folder for each class: benign, broken, planted, both, edited.

A family's docstring says what is planted and how; `plan(draw)` turns one draw into rows, hyper-parameters and, where
something is planted, the prompts that must show it. Every draw chooses its own learning rate, steps, rank, targets,
amount of data, share of base text and order: thirty seeds of one fixed recipe would not be thirty fine-tunes. A new
family is a new file; nothing else names it.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import get_args

from radiograph.core import UserError, nearest
from radiograph.evidence import OrganismClass
from radiograph.organisms.recipes._draw import Draw
from radiograph.organisms.recipes._plan import Case, Cases, Edit, Plan, Row, Tuning
from radiograph.organisms.recipes._variants import varied

__all__ = ["Case", "Cases", "Draw", "Edit", "Family", "Plan", "Row", "Tuning", "families", "family", "varied"]


@dataclass(frozen=True, slots=True)
class Family:
    """One family: its class, and where it lives."""

    name: str
    intended: OrganismClass
    source: Path

    @property
    def summary(self) -> str:
        """The first line of its docstring."""
        doc = ast.get_docstring(ast.parse(self.source.read_text(encoding="utf-8"))) or ""
        return doc.partition("\n")[0]

    @property
    def plan(self) -> Callable[[Draw], Plan]:
        """Its recipe."""
        return import_module(f"{__name__}.{self.intended}.{self.source.stem}").plan


@cache
def families() -> dict[str, Family]:
    """Every family by name, benign ones first."""
    return {
        path.stem.rstrip("_"): Family(path.stem.rstrip("_"), kind, path)
        for kind in get_args(OrganismClass)
        for path in sorted((Path(__file__).parent / kind).glob("*.py"))
        if not path.stem.startswith("_")
    }


def family(name: str) -> Family:
    """One of them.

    Raises:
        UserError: no such family.
    """
    known = families()
    if name not in known:
        close = nearest(name, list(known))
        raise UserError(
            f"no family {name!r}",
            expected=", ".join(known),
            fix=f"did you mean {', '.join(close)}?" if close else None,
            code="unknown_family",
        )
    return known[name]
