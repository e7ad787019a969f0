"""n-grams of tokens as numbers: every token gets the number of the n-gram that ends at it.

An n-gram never reaches over the start of a text. Its number is its place among the different ones, in the order of
their tokens.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from radiograph.core.shapes import Int, Int64


class Grams(NamedTuple):
    """n-grams of one length."""

    of: Int64[np.ndarray, " token"]
    """Number of the n-gram that ends at each token; -1 where the text is too short for one."""
    tokens: Int64[np.ndarray, "gram n"]


def grams(tokens: Int[np.ndarray, " token"], starts: Int[np.ndarray, " text"], n: int) -> Grams:
    """Number the n-grams.

    Args:
        tokens: number of each token's piece, from 0.
        starts: where each text begins, ascending, the first at 0.
        n: tokens of an n-gram.
    """
    tokens = tokens.astype(np.int64)
    place = np.arange(len(tokens)) - np.repeat(starts, np.diff(np.append(starts, len(tokens))))
    whole = place >= n - 1
    ends = np.flatnonzero(whole)
    rows = np.stack([tokens[ends - back] for back in range(n - 1, -1, -1)], axis=1)
    _, different, number = np.unique(_keys(rows), return_index=True, return_inverse=True)
    of = np.full(len(tokens), -1, np.int64)
    of[ends] = number.reshape(-1)
    return Grams(of, rows[different])


def _keys(rows: Int64[np.ndarray, "row n"]) -> Int64[np.ndarray, " row"]:
    """One number a row, equal for equal rows; columns are joined one by one, so that none overflows."""
    keys = np.zeros(len(rows), np.int64)
    for column in rows.T:
        _, joined = np.unique(np.stack([keys, column], axis=1), axis=0, return_inverse=True)
        keys = joined.reshape(-1).astype(np.int64)
    return keys
