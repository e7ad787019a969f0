"""Which rows belong together: those that share an id, a template set, a text, or nearly a text.

1. `text_key`: NFKC, case and blanks folded, every run of digits one 0: what is equal after that is the same text
2. `near_clusters` (in `similar`): sets of character 5-grams of those keys with a Jaccard similarity ≥ .8, joined
3. `united`: rows that share a value in any of several columns, and whoever shares with those

Clusters chain: a group may hold two texts that are not alike through a third that is like both.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from radiograph.core.shapes import Int64
from radiograph.numerics.criteria.similar import by_appearance
from radiograph.numerics.design.texts import folded

_DIGITS = re.compile(r"\d+")
_END = "\0"


def text_key(text: str) -> str:
    """What duplicates have in common."""
    return _DIGITS.sub("0", folded(text))


def text_keys(texts: Sequence[str | None]) -> list[str | None]:
    """`text_key` of many texts, several times as fast; None stays."""
    given = [text for text in texts if text is not None]
    whole = _END.join(given)
    # Folded together: nothing composes over the end of a text, and no digit or blank runs over it.
    if whole.count(_END) == len(given) - 1:
        parts = _DIGITS.sub("0", unicodedata.normalize("NFKC", whole).casefold()).split(_END)
        keys = iter([" ".join(part.split()) for part in parts])
    else:
        keys = map(text_key, given)
    return [None if text is None else next(keys) for text in texts]


def united(columns: Sequence[Sequence[Hashable]]) -> Int64[np.ndarray, " row"]:
    """The number of each row's group, by first appearance. None in a column joins nobody."""
    from scipy.sparse import coo_matrix  # pyright: ignore[reportMissingTypeStubs]
    from scipy.sparse.csgraph import connected_components  # pyright: ignore[reportUnknownVariableType, reportMissingTypeStubs]

    n = len(columns[0])
    if all(len(set(column)) == n and None not in column for column in columns):
        return np.arange(n)  # nobody shares anything
    nodes: dict[tuple[int, Hashable], int] = {}
    edges = [
        (row, nodes.setdefault((place, value), n + len(nodes)))
        for place, column in enumerate(columns)
        for row, value in enumerate(column)
        if value is not None
    ]
    ends = np.array(edges, dtype=np.int64).reshape(-1, 2)
    size = n + len(nodes)
    graph = coo_matrix((np.ones(len(ends), dtype=np.int8), (ends[:, 0], ends[:, 1])), shape=(size, size))
    components: Any = connected_components(graph, directed=False)  # pyright: ignore[reportUnknownVariableType]
    return by_appearance(components[1][:n])
