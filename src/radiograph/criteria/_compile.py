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

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from radiograph.core import Refusal, UserError
from radiograph.criteria._find import available, routes
from radiograph.criteria._groups import grouped
from radiograph.criteria._parts import Drawn, Parts
from radiograph.criteria._rows import Row
from radiograph.criteria._split import DISCOVER, halved, split_of
from radiograph.evidence import (
    Criterion,
    CriterionRoute,
    CriterionRows,
    CriterionSplit,
    CriterionSurface,
    CriterionWarning,
    Split,
    canonical_json,
    document_sha256,
)
from radiograph.numerics.criteria import length_auroc, word_auroc
from radiograph.numerics.design import words

LENGTH_GIVES_AWAY: Final = 0.75
WORDS_GIVE_AWAY: Final = 0.95
FEW_GROUPS: Final = 8
"""In a half."""
LARGE_GROUP: Final = 0.5
"""Share of the rows in one group."""
NearDuplicates = Literal["jaccard", "off"]

__all__ = ["Compiled", "compile_criterion", "split_of"]


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
) -> Compiled:
    """Compile; `split` is one that an earlier compilation stored.

    Raises:
        UserError: rows that cannot be used. Refusal: nothing can be compiled.
    """
    drawn = _drawn(parts, seed)
    rows = [row for found in drawn.values() for row in found.rows]
    if len({row.span is None for row in rows}) > 1:
        raise UserError(
            "some rows label a prompt and others a part of one",
            expected="one level for a criterion",
            fix="compile prompts and spans apart",
            code="mixed_levels",
        )
    near = near_duplicates == "jaccard" and not parts.ready
    rows, dropped = grouped(rows, near=near, drop=not parts.ready)
    for found in drawn.values():
        dropped.update(found.dropped)
    kinds = Counter(row.kind for row in rows)
    if not kinds["positive"] or kinds["positive"] == len(rows):
        raise Refusal(
            "one_class",
            "the rows that are left are of one class",
            expected="positive and other rows",
            got=", ".join(f"{n} {name}" for name, n in [*sorted(kinds.items()), *sorted(dropped.items())]) or "no row",
        )
    rows = halved(rows, seed=seed, discover=discover, given=split)
    stored = split_of(rows, seed=seed, discover=discover) if split is None else split
    surface = _surface(rows)
    count = CriterionRows(
        positive=kinds["positive"],
        near_miss=kinds["near_miss"],
        negative=kinds["negative"],
        groups=len({row.group for row in rows}),
        dropped=dict(sorted(dropped.items())),
    )
    sha256 = rows_sha256(rows)
    level = "prompt" if rows[0].span is None else "token"
    criterion = Criterion(
        id=f"c-{document_sha256([parts.text, level, sha256])[:8]}",
        text=parts.text,
        level=level,
        definition=next((found.definition for found in drawn.values() if found.definition), None),
        routes=tuple(CriterionRoute(route=n, rows=len(f.rows), sha256=f.sha256) for n, f in drawn.items()),
        rows=count,
        rows_sha256=sha256,
        labeller=next((found.labeller for found in drawn.values() if found.labeller), None),
        split=_counted(rows, stored),
        surface=surface,
        warnings=_warnings(rows, count, surface),
    )
    return Compiled(criterion, tuple(rows), stored)


def rows_sha256(rows: Sequence[Row]) -> str:
    """Over what the rows hold, halves included, in the order of their prompts."""
    return document_sha256(sorted((plain(row) for row in rows), key=canonical_json))


def plain(row: Row) -> dict[str, object]:
    """A row as data."""
    return {
        "prompt_id": row.prompt_id,
        "text": row.text,
        "kind": row.kind,
        "group": row.group,
        "source_group": row.source_group,
        "half": row.half,
        "score": row.score,
        "span": None if row.span is None else list(row.span),
        "tokens": list(row.tokens),
        "messages": list(row.messages),
        "targets": list(row.targets),
        "foils": list(row.foils),
        "factors": dict(row.factors),
        "route": row.route,
    }


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
    return {name: routes()[name].draw(parts, seed) for name in names}


def _counted(rows: Sequence[Row], split: Split) -> CriterionSplit:
    halves = Counter({row.group: row.half for row in rows}.values())
    groups = halves["discover"], halves["confirm"]
    return CriterionSplit(discover=split.discover, seed=split.seed, groups=groups, sha256=split.sha256)


def _surface(rows: Sequence[Row]) -> CriterionSurface:
    shown = [(row.surface, row) for row in rows if row.surface is not None]
    labels = np.array([row.positive for _, row in shown], dtype=bool)
    first = np.array([row.half == "discover" for _, row in shown], dtype=bool)
    lengths = np.array([len(text) for text, _ in shown], dtype=np.float64)
    return CriterionSurface(
        length=length_auroc(lengths, labels, first),
        words=word_auroc([words(text) for text, _ in shown], labels, first),
        n=len(shown),
    )


def _warnings(rows: Sequence[Row], count: CriterionRows, surface: CriterionSurface) -> tuple[CriterionWarning, ...]:
    groups = {row.group: row.half for row in rows}
    halves = Counter(groups.values())
    largest = max(Counter(row.group for row in rows).values())
    holds: dict[CriterionWarning, bool] = {
        "surface_labels": (surface.length or 0) >= LENGTH_GIVES_AWAY or (surface.words or 0) >= WORDS_GIVE_AWAY,
        "no_near_miss": count.near_miss == 0,
        "few_groups": min(halves["discover"], halves["confirm"]) < FEW_GROUPS,
        "large_group": len(groups) > 1 and largest > LARGE_GROUP * len(rows),
        "contradictions": count.dropped.get("contradiction", 0) > 0,
    }
    return tuple(name for name, true in holds.items() if true)
