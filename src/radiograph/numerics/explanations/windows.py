"""Contexts: every text cut into windows of so many tokens, and how strongly each feature fires in each.

A window is the unit that a judge is asked about. It fires as strongly as its strongest token; it is silent where no
token of it fires.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from radiograph.core.shapes import Float64, Int, Int64
from radiograph.numerics.explanations.sparse import Sparse, csr, owners


class Windows(NamedTuple):
    """Where windows begin and end among all tokens."""

    first: Int64[np.ndarray, " window"]
    last: Int64[np.ndarray, " window"]
    """The token after the last one."""
    text: Int64[np.ndarray, " window"]
    of: Int64[np.ndarray, " token"]
    """The window of each token."""


def windows_of(starts: Int[np.ndarray, " text"], tokens: int, length: int) -> Windows:
    """Cut texts that begin at `starts` into windows of `length` tokens; the last one of a text may be shorter."""
    sizes = np.diff(np.append(starts, tokens))
    many = -(-sizes // length)
    text = np.repeat(np.arange(len(starts)), many)
    number = np.arange(len(text)) - np.repeat(np.cumsum(many) - many, many)
    first = np.asarray(starts)[text] + number * length
    last = np.minimum(first + length, np.asarray(starts)[text] + sizes[text])
    return Windows(first, last, text, np.repeat(np.arange(len(text)), last - first))


def peaks(fires: Sparse, of: Int64[np.ndarray, " token"], windows: int) -> tuple[Sparse, Sparse]:
    """[feature, window]: the largest value in each window that fires, and the token (from 1) that has it."""
    feature = owners(fires)
    window = of[fires.indices]
    value: Float64[np.ndarray, " entry"] = fires.data.astype(np.float64)
    order = np.lexsort((fires.indices, -value, window, feature))
    feature, window = feature[order], window[order]
    fresh = np.ones(len(order), bool)
    fresh[1:] = (np.diff(feature) != 0) | (np.diff(window) != 0)
    shape = (fires.shape[0], windows)
    top: Float64[np.ndarray, " peak"] = value[order][fresh]
    token = fires.indices[order][fresh].astype(np.int64) + 1
    return csr(top, feature[fresh], window[fresh], shape), csr(token, feature[fresh], window[fresh], shape)
