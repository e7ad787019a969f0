"""Which rows are the same, and which belong together.

1. rows that show a model the same thing at the same place are one row: the one of the smallest id stays; where they
   carry different labels all go (`contradiction`)
2. groups: the same `group_id` or template set, the same text (case, spaces, digits folded), nearly the same text
   (5-grams). A group is called after the smallest of the ids united in it; rows that are dropped unite all the same
Ready records, which carry activations, lose nothing, and only equal texts are united.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence

from radiograph.criteria._rows import Row
from radiograph.numerics.criteria import near_clusters, text_keys, united


def group_names(
    sources: Sequence[str],
    texts: Sequence[str | None] | None,
    *,
    near: bool,
    prompts: Sequence[str] | None = None,
) -> list[str]:
    """The group of each row; `sources` are the groups as they were given, rows of one of `prompts` stay together."""
    if not sources:
        return []
    columns: list[Sequence[Hashable]] = [sources] if prompts is None else [sources, prompts]
    if texts is not None:
        keys = text_keys(texts)
        columns.append(keys)
        if near:
            spelled = [key for key in keys if key is not None]
            number = iter(near_clusters(spelled).tolist())
            columns.append([None if key is None else next(number) for key in keys])
    numbers: list[int] = united(columns).tolist()
    names: dict[int, str] = {}
    for source, number in zip(sources, numbers, strict=True):
        known = names.get(number)
        if known is None or source < known:
            names[number] = source
    return [names[number] for number in numbers]


def distinct(rows: Sequence[Row]) -> tuple[list[int], Counter[str]]:
    """The places of the rows that stay, and how many went why."""
    alike: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        alike[row.identity].append(place)
    dropped: Counter[str] = Counter()
    kept: list[int] = []
    for same in alike.values():
        if len({rows[i].positive for i in same}) > 1:
            dropped["contradiction"] += len(same)
        else:
            dropped["duplicate"] += len(same) - 1
            kept.append(min(same, key=lambda i: (rows[i].prompt_id, rows[i].kind)))
    return sorted(kept), +dropped
