"""Which rows are the same, and which belong together.

1. rows that show a model the same thing at the same place are one row: the one of the smallest id stays; where they
   carry different labels all go (`contradiction`)
2. groups: the same `group_id` or template set, the same text (case, spaces, digits folded), nearly the same text
   (5-grams). A group is called after the smallest of the ids united in it
Ready records, which carry activations, lose nothing, and only equal texts are united.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

from radiograph.criteria._rows import Row
from radiograph.numerics.criteria import near_clusters, text_key, united


def grouped(rows: Sequence[Row], *, near: bool, drop: bool) -> tuple[list[Row], Counter[str]]:
    """Rows with their groups, in the order given, and what was dropped."""
    keys = [None if row.text is None else text_key(row.text) for row in rows]
    columns: list[list[object]] = [[("id", row.source_group) for row in rows], list(keys)]
    if near:
        spelled = [key for key in keys if key is not None]
        number = iter(near_clusters(spelled).tolist() if spelled else [])
        columns.append([None if key is None else next(number) for key in keys])
    numbers = united(columns).tolist() if rows else []
    names: dict[int, str] = {}
    for row, number in zip(rows, numbers, strict=True):
        names[number] = min(names.get(number, row.source_group), row.source_group)
    out = [replace(row, group=names[number]) for row, number in zip(rows, numbers, strict=True)]
    return _distinct(out) if drop else (out, Counter())


def _distinct(rows: Sequence[Row]) -> tuple[list[Row], Counter[str]]:
    alike: dict[tuple[object, ...], list[Row]] = defaultdict(list)
    for row in rows:
        alike[row.identity].append(row)
    dropped: Counter[str] = Counter()
    kept: set[int] = set()
    for same in alike.values():
        if len({row.positive for row in same}) > 1:
            dropped["contradiction"] += len(same)
            continue
        dropped["duplicate"] += len(same) - 1
        kept.add(id(min(same, key=lambda row: (row.prompt_id, row.kind))))
    return [row for row in rows if id(row) in kept], +dropped
