"""A criterion, compiled: rows of every route that can be taken, grouped, split, and checked for what their form shows.

1. routes that lack nothing draw rows; a criterion `world:ATTRIBUTE` draws from the world alone
2. duplicates and contradictions go, groups are united, groups are halved
3. surface check on held-out rows: AUROC of length and of words; at .75 or .95 the labels are called `surface_labels`

The words of the criterion are stored and never compared with a label. Same parts, seed and split, same bytes; the order
of the rows changes neither groups nor halves.

Refuses when: no route can be taken (each is named with what it lacks), prompts and spans are mixed, one class is empty
in the end.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np

from radiograph.core import Refusal, UserError, held
from radiograph.criteria._find import GROUP, available, routes
from radiograph.criteria._groups import distinct, group_names
from radiograph.criteria._measure import counted, rows_sha256, split_record, surface_of, warnings_of
from radiograph.criteria._parts import Drawn, Parts
from radiograph.criteria._rows import Row
from radiograph.criteria._split import DISCOVER, as_given, halved, split_of
from radiograph.evidence import Criterion, CriterionRoute, CriterionSurface, Half, RowKind, Split, document_sha256
from radiograph.store.lines import says_private

NearDuplicates = Literal["jaccard", "off"]
NESTED: Final = ("span", "tokens", "messages", "targets", "foils", "factors")
"""Columns that hold JSON: their values differ in shape from row to row."""
COLUMNS: Final = (
    *("prompt_id", "text", "kind", "group", "source_group", "half", "score", "span"),
    *("tokens", "messages", "targets", "foils", "factors", "route"),
)


@dataclass(frozen=True)
class Compiled:
    """A criterion with its rows and the halves of its groups."""

    criterion: Criterion
    rows: tuple[Row, ...]
    split: Split


def compile_criterion(
    parts: Parts,
    *,
    seed: int = 0,
    near_duplicates: NearDuplicates = "jaccard",
    split: Split | None = None,
    discover: float = DISCOVER,
    surface: bool = True,
    continuous: bool = False,
) -> Compiled:
    """Compile; `split` is one that an earlier compilation stored, `surface=False` leaves the surface check out.

    Scores that are ranked, `continuous`, need no two classes.

    Raises:
        UserError: rows that cannot be used. Refusal: nothing can be compiled.
    """
    drawn = _drawn(parts, seed)
    given = [row for found in drawn.values() for row in found.rows]
    if len({row.span is None for row in given}) > 1:
        raise UserError(
            "some rows label a prompt and others a part of one",
            expected="one level for a criterion",
            fix="compile prompts and spans apart",
            code="mixed_levels",
        )
    named = group_names([r.source_group for r in given], [r.text for r in given], near=near_duplicates == "jaccard")
    kept, dropped = distinct(given)
    for found in drawn.values():
        dropped.update(found.dropped)
    rows, groups = [given[i] for i in kept], [named[i] for i in kept]
    kinds: list[RowKind] = [row.kind for row in rows]
    sources = [row.source_group for row in rows]
    counts = counted(kinds, groups, dropped, classes=not continuous)
    if split is None:
        first = halved(groups, kinds, [row.factors for row in rows], seed=seed, discover=discover)
        split = split_of(groups, sources, first, seed=seed, discover=discover)
    else:
        first = as_given(groups, sources, split)
    of: tuple[Half, Half] = ("confirm", "discover")
    rows = [replace(r, group=g, half=of[h]) for r, g, h in zip(rows, groups, first.tolist(), strict=True)]
    shown = [row.surface for row in rows] if surface else None
    measured: CriterionSurface = surface_of(shown, np.array([row.positive for row in rows]), first)
    halves = split_record(groups, first, split)
    sha256 = rows_sha256(columns(rows))
    level = "prompt" if rows[0].span is None else "token"
    criterion = Criterion(
        id=criterion_id(parts.text, level, sha256),
        text=parts.text,
        level=level,
        definition=next((found.definition for found in drawn.values() if found.definition), None),
        routes=tuple(CriterionRoute(route=n, rows=len(f.rows), sha256=f.sha256) for n, f in drawn.items()),
        rows=counts,
        rows_sha256=sha256,
        labeller=next((found.labeller for found in drawn.values() if found.labeller), None),
        split=halves,
        surface=measured,
        warnings=warnings_of(groups, counts, halves, measured),
        private=_private(parts),
    )
    return Compiled(criterion, tuple(rows), split)


def _private(parts: Parts) -> bool:
    """Whether something that rows come from is marked private."""
    files = [rows for given in (parts.prompts, parts.texts) if given is not None for rows in given.rows]
    return says_private(files) or (parts.template is not None and says_private(dict(parts.template.document)))


def criterion_id(text: str, level: str, sha256: str) -> str:
    """What a criterion is called: its words, its level and its rows."""
    return f"c-{document_sha256([text, level, sha256])[:8]}"


def columns(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """The rows as the columns of a table."""
    table: dict[str, list[Any]] = {}
    for name in COLUMNS:
        values = [getattr(row, name) for row in rows]
        if name == "factors":
            values = [dict(value) for value in values]
        table[name] = [json.dumps(v, ensure_ascii=False, sort_keys=True) for v in values] if name in NESTED else values
    return table


def _drawn(parts: Parts, seed: int) -> dict[str, Drawn]:
    lacks = available(parts)
    names = [name for name, lack in lacks.items() if lack is None]
    if parts.text.startswith("world:"):
        names = [name for name in names if name == "world"]
    if not names:
        raise Refusal(
            "no_route",
            f"nothing says which texts meet the criterion {parts.text!r}: its words alone are no labels",
            expected="one of these routes",
            got="none of them has what it needs",
            fix="; ".join(f"{name}: {lack}" for name, lack in lacks.items()),
        )
    return {name: held(routes()[name].draw(parts, seed), Drawn, GROUP, name) for name in names}
