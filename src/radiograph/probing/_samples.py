"""Labelled activations that a probe is built from, in groups, in three parts.

A *unit* is what is scored and flagged: a token, or a whole text (`sequence`). Of a text that is pooled by `max` all
tokens are rows of one unit; else a unit has one row. Parts: fit, calibrate, test; no group is in two of them.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radiograph.core import Refusal, UserError, derive_many, visible
from radiograph.core.shapes import Bool, Float, Int8, Int64
from radiograph.evidence.probes.probe import ProbeLevel, ProbeNormalise, ProbePool
from radiograph.numerics.criteria import near_clusters, text_key, united

PARTS = ("fit", "calibrate", "test")
FIT, CALIBRATE, TEST = range(3)
SHARES = (0.6, 0.8)
FEWEST_GROUPS = 20


@dataclass(frozen=True, eq=False)
class Samples:
    """Rows at every site, and what is known of the units that they belong to."""

    sites: tuple[str, ...]
    """In the order in which the earlier is preferred."""
    values: tuple[Float[np.ndarray, "row _"], ...]
    """As they were read, a table a site."""
    embed: Float[np.ndarray, "row _"] | None
    """The same rows at the embedding; None where nobody can read it."""
    unit: Int64[np.ndarray, " row"]
    """Ascending."""
    positive: Bool[np.ndarray, " unit"]
    near_miss: Bool[np.ndarray, " unit"]
    clean: Bool[np.ndarray, " unit"]
    """Of clean text, which is negative and no part of the contrast."""
    group: Int64[np.ndarray, " unit"]
    part: Int8[np.ndarray, " unit"]
    kind: Int64[np.ndarray, " unit"]
    """0 for the contrast, then the number of the source of clean text."""
    text: Int64[np.ndarray, " unit"]
    """Number in `texts`."""
    texts: tuple[str | None, ...]
    level: ProbeLevel
    pool: ProbePool | None

    def by_unit(self, values: NDArray[Any]) -> NDArray[Any]:
        """Scores of units from scores of rows: the largest."""
        if len(self.unit) == len(self.positive):
            return values
        return np.maximum.reduceat(values, np.flatnonzero(np.diff(self.unit, prepend=-1)), axis=0)

    def means(self, rows: Float[np.ndarray, "row width"]) -> Float[np.ndarray, "unit width"]:
        """One row a unit, to fit on: the mean of its rows."""
        if len(self.unit) == len(self.positive):
            return rows
        starts = np.flatnonzero(np.diff(self.unit, prepend=-1))
        return np.add.reduceat(rows, starts, axis=0) / np.diff(np.append(starts, len(rows)))[:, None].astype(rows.dtype)

    def named(self, sites: Sequence[str]) -> Samples:
        """The same rows, their sites called otherwise."""
        return replace(self, sites=tuple(sites))


def normalised(rows: Float[np.ndarray, "row width"], how: ProbeNormalise) -> Float[np.ndarray, "row width"]:
    """float32 rows; `rms`: every row at length √d, so that scale cannot move a score. A zero row stays zero."""
    values = rows.astype(np.float32, copy=False)
    return values if how == "none" else values * scales(values, how)[:, None]


def scales(rows: Float[np.ndarray, "row width"], how: ProbeNormalise) -> Float[np.ndarray, " row"]:
    """What `normalised` multiplies rows with."""
    if how == "none":
        return np.ones(len(rows), rows.dtype)
    length = lengths(rows)
    return np.where(length > 0, np.sqrt(rows.shape[1]) / np.where(length > 0, length, 1), 0).astype(rows.dtype)


def lengths(rows: Float[np.ndarray, "row width"]) -> Float[np.ndarray, " row"]:
    """Euclidean norms."""
    with np.errstate(over="ignore"):
        found = np.einsum("ij,ij->i", rows, rows)
    if not np.isfinite(found).all():  # squares of large float32 numbers overflow
        found = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
    return np.sqrt(found)


def group_numbers(
    given: Sequence[str],
    texts: Sequence[str | None],
    labels: Sequence[bool],
    same: Sequence[Hashable] | None = None,
) -> Int64[np.ndarray, " text"]:
    """Groups as given, texts that are the same or nearly the same united.

    Only texts of one label are compared: the two sides of a contrast are meant to be alike, and share their group.
    `same` unites whatever has one value, None nobody.
    """
    keys = [None if text is None else text_key(text) for text in texts]
    columns: list[Sequence[Any]] = [given] if same is None else [given, same]
    for side in (True, False):
        own = [i for i, label in enumerate(labels) if label is side and keys[i] is not None]
        number = near_clusters([keys[i] or "" for i in own]).tolist() if own else []
        column: list[Any] = [None] * len(given)
        for place, one in zip(own, number, strict=True):
            column[place] = one
        columns.append(column)
    return united(columns)


def parts_of(
    names: Sequence[str], group: Int64[np.ndarray, " text"], kind: Int64[np.ndarray, " text"], seed: int
) -> Int8[np.ndarray, " text"]:
    """60, 20 and 20 % of the groups of each kind (which labels they hold), by a keyed hash of their names."""
    count = int(group.max()) + 1
    first = np.full(count, len(names))
    np.minimum.at(first, group, np.arange(len(names)))
    held = np.zeros(count, dtype=np.int64)
    np.bitwise_or.at(held, group, 1 << kind)
    smallest = _smallest(names, group, count)
    key = np.array(derive_many(seed, "probe split", smallest), dtype=np.int64)
    order = np.lexsort((key, held))
    share = np.empty(count)
    for one in np.unique(held):
        inside = order[held[order] == one]
        share[inside] = (np.arange(len(inside)) + 0.5) / len(inside)
    return np.searchsorted(np.array(SHARES), share, side="right").astype(np.int8)[group]


def _smallest(names: Sequence[str], group: Int64[np.ndarray, " text"], count: int) -> list[str]:
    out: list[str | None] = [None] * count
    for name, number in zip(names, group.tolist(), strict=True):
        known = out[number]
        out[number] = name if known is None or name < known else known
    return [name or "" for name in out]


def given_parts(given: Sequence[str | None], group: Int64[np.ndarray, " text"]) -> Int8[np.ndarray, " text"]:
    """Parts as the rows name them; united groups go to the last part that any of their rows is of.

    Raises:
        UserError: some rows name their part and others do not, or one that is none.
    """
    wrong = next((i for i, name in enumerate(given) if name not in PARTS), None)
    if wrong is not None:
        raise UserError(
            "every row names its part, or none does", where=f"row {wrong + 1}", expected=", ".join(PARTS),
            got=visible(str(given[wrong]), 40),
        )  # fmt: skip
    number = np.array([PARTS.index(name or "") for name in given], dtype=np.int8)
    last = np.zeros(int(group.max()) + 1, dtype=np.int8)
    np.maximum.at(last, group, number)
    return last[group]


def check_classes(positive: Bool[np.ndarray, " unit"], group: Int64[np.ndarray, " unit"]) -> None:
    """Hold a contrast to two classes of enough groups.

    Raises:
        Refusal: `one_class`, `few_groups`, with the counts.
    """
    counts = [len(np.unique(group[positive == side])) for side in (True, False)]
    if min(counts) == 0:
        raise Refusal(
            "one_class",
            "the contrast has one class",
            expected="positive and negative rows",
            got=f"{int(positive.sum())} positive, {int((~positive).sum())} negative",
        )
    if min(counts) < FEWEST_GROUPS:
        raise Refusal(
            "few_groups",
            "a class has too few groups to fit, calibrate and test on",
            expected=f"{FEWEST_GROUPS} groups a class",
            got=f"{counts[0]} positive, {counts[1]} negative",
            fix="give more prompts, documents or pairs; rows of one group count once",
        )
