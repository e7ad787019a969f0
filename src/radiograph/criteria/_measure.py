"""What is said of rows once they are grouped and halved: counts, hash, surface, warnings. Columns in, records out."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from radiograph.core import Refusal
from radiograph.evidence import (
    CriterionRows,
    CriterionSplit,
    CriterionSurface,
    CriterionWarning,
    RowKind,
    Split,
    canonical_json,
)
from radiograph.numerics.criteria import length_auroc, word_auroc
from radiograph.numerics.design import words

LENGTH_GIVES_AWAY: Final = 0.75
WORDS_GIVE_AWAY: Final = 0.95
FEW_GROUPS: Final = 8
"""In a half."""
LARGE_GROUP: Final = 0.5
"""Share of the rows in one group."""
ROWS: Final = 65_536
"""That are hashed at once."""


def counted(
    kinds: Sequence[RowKind], groups: Sequence[str], dropped: Mapping[str, int], *, classes: bool = True
) -> CriterionRows:
    """Counts of what is left.

    Raises:
        Refusal: no row, or rows of one class where there have to be two `classes` (`one_class`).
    """
    found = Counter(kinds)
    if not kinds or (classes and found["positive"] in (0, len(kinds))):
        parts = [f"{n} {name}" for name, n in [*sorted(found.items()), *sorted(dropped.items())] if n]
        raise Refusal(
            "one_class",
            "the rows that are left are of one class",
            expected="positive and other rows",
            got=", ".join(parts) or "no row",
        )
    return CriterionRows(
        positive=found["positive"],
        near_miss=found["near_miss"],
        negative=found["negative"],
        groups=len(set(groups)),
        dropped=dict(sorted(dropped.items())),
    )


def rows_sha256(columns: Mapping[str, Sequence[Any]]) -> str:
    """Over named columns, rows in the order of their values, so that the order of a file does not matter."""
    import polars as pl

    names = sorted(columns)
    table = pl.DataFrame({name: pl.Series(_texts(columns[name]), dtype=pl.String) for name in names}).sort(names)
    # A slice at a time: the JSON of all rows would be several times the rows.
    digest = hashlib.sha256(b"[" + canonical_json(names) + b",[")
    for start in range(0, len(table), ROWS):
        digest.update((b"," if start else b"") + canonical_json(table.slice(start, ROWS).rows())[1:-1])
    digest.update(b"]]")
    return digest.hexdigest()


def split_record(groups: Sequence[str], first: NDArray[np.bool_], split: Split) -> CriterionSplit:
    """How many groups each half has."""
    halves = Counter(dict(zip(groups, first.tolist(), strict=True)).values())
    return CriterionSplit(
        discover=split.discover, seed=split.seed, groups=(halves[True], halves[False]), sha256=split.sha256
    )


def surface_of(
    texts: Sequence[str | None] | None, positive: NDArray[np.bool_], first: NDArray[np.bool_]
) -> CriterionSurface:
    """Held-out AUROC of length and words, over the rows that have a text."""
    kept = [i for i, text in enumerate(texts or ()) if text is not None]
    if not kept or texts is None:
        return CriterionSurface(length=None, words=None, n=0)
    shown = [texts[i] or "" for i in kept]
    labels, half = positive[kept], first[kept]
    lengths = np.array([len(text) for text in shown], dtype=np.float64)
    by_words = word_auroc([words(text) for text in shown], labels, half)
    return CriterionSurface(length=length_auroc(lengths, labels, half), words=by_words, n=len(kept))


def warnings_of(
    groups: Sequence[str], rows: CriterionRows, split: CriterionSplit, surface: CriterionSurface
) -> tuple[CriterionWarning, ...]:
    """What a reader must know."""
    largest = max(Counter(groups).values())
    holds: dict[CriterionWarning, bool] = {
        "surface_labels": (surface.length or 0) >= LENGTH_GIVES_AWAY or (surface.words or 0) >= WORDS_GIVE_AWAY,
        "no_near_miss": rows.near_miss == 0,
        "few_groups": min(split.groups) < FEW_GROUPS,
        "large_group": rows.groups > 1 and largest > LARGE_GROUP * len(groups),
        "contradictions": rows.dropped.get("contradiction", 0) > 0,
    }
    return tuple(name for name, true in holds.items() if true)


def _texts(values: Sequence[Any]) -> Sequence[str]:
    kinds = set(map(type, values))
    if kinds == {bool}:
        return ["True" if value else "False" for value in values]
    return values if kinds == {str} else list(map(_text, values))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else repr(value)
