"""Texts that are nearly the same, exactly and in bulk.

Sets of character 5-grams, Jaccard similarity |A∩B| / |A∪B| ≥ .8, joined into clusters (single linkage).
1. two sets that similar share one of the |A| − ⌈.8·|A|⌉ + 1 rarest grams of each (Bayardo, Ma and Srikant 2007): a
   sparse product over these alone gives the candidates, block by block
2. overlaps of a block by whichever costs less: the product with all candidate columns, or pair by pair

The same clusters as `traces.clusters`, which compares in Python: of 3,000 sentences of one form, which all are
candidates of each other, in seconds instead of a minute. Memory: one block, 2²⁴ entries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from radiograph.core.shapes import Int64
from radiograph.numerics.traces.rows import GRAM, SIMILAR

_WORK = 1 << 24


def near_clusters(keys: Sequence[str]) -> Int64[np.ndarray, " text"]:
    """The number of each text's cluster, by first appearance; equal texts are in one."""
    from scipy.sparse import coo_matrix  # pyright: ignore[reportMissingTypeStubs]
    from scipy.sparse.csgraph import connected_components  # pyright: ignore[reportUnknownVariableType, reportMissingTypeStubs]

    number: dict[str, int] = {}
    of = np.array([number.setdefault(key, len(number)) for key in keys], dtype=np.int64)
    n = len(number)
    grams, size = _grams(list(number))
    edges = [np.zeros((2, 0), dtype=np.int64), *_links(grams, size)]
    one, two = np.concatenate(edges, axis=1)
    graph = coo_matrix((np.ones(len(one), dtype=np.int8), (one, two)), shape=(n, n))
    return by_appearance(connected_components(graph, directed=False)[1][of])


def by_appearance(numbers: Any) -> Int64[np.ndarray, " row"]:
    """The same classes, numbered in the order in which they are first seen."""
    _, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first)).astype(np.int64)[inverse.reshape(-1)]


def _grams(texts: Sequence[str]) -> tuple[Any, Int64[np.ndarray, " text"]]:
    """Texts × grams, columns from the rarest to the most frequent, and how many each text has."""
    from scipy.sparse import csr_matrix  # pyright: ignore[reportMissingTypeStubs]

    number: dict[str, int] = {}
    sets = [{text[i : i + GRAM] for i in range(max(1, len(text) - GRAM + 1))} for text in texts]
    columns = np.array([number.setdefault(gram, len(number)) for own in sets for gram in own], dtype=np.int64)
    rank = np.argsort(np.argsort(np.bincount(columns), kind="stable"), kind="stable")
    size = np.array([len(own) for own in sets], dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(size)])
    shape = (len(texts), max(1, len(number)))
    found = csr_matrix((np.ones(len(columns), dtype=np.int32), rank[columns], starts), shape=shape)
    found.sort_indices()
    return found, size


def _links(grams: Any, size: Int64[np.ndarray, " text"]) -> Iterator[Int64[np.ndarray, "end link"]]:
    """Pairs of texts that are similar enough."""
    rare = _prefixes(grams, size)
    frequency = np.bincount(grams.indices, minlength=grams.shape[1])
    rarity = np.bincount(rare.indices, minlength=rare.shape[1])
    weight: Int64[np.ndarray, " entry"] = rarity[rare.indices].astype(np.int64)
    work = np.cumsum(np.add.reduceat(weight, rare.indptr[:-1])) if len(size) else size
    full = np.searchsorted(work, np.arange(_WORK, int(work[-1]) + 1 if len(size) else 0, _WORK))
    edges = np.unique(np.concatenate([[0], full, [len(size)]]))
    rare_columns, columns = rare.T.tocsr(), grams.T.tocsr()
    for low, high in pairwise(edges.tolist()):
        candidates = (rare[low:high] @ rare_columns).tocoo()
        one, two = candidates.row.astype(np.int64) + low, candidates.col.astype(np.int64)
        fits = (two > one) & (np.minimum(size[one], size[two]) >= SIMILAR * np.maximum(size[one], size[two]))
        one, two = one[fits], two[fits]
        if not len(one):
            continue
        rows = np.unique(one)
        if frequency[grams[rows].indices].sum() < 4 * (size[one] + size[two]).sum():
            shared = (grams[rows] @ columns).tocoo()
            one, two = rows[shared.row], shared.col.astype(np.int64)
            yield _similar(one, two, shared.data, size)
        else:
            step = max(1, _WORK // int(size.max()))
            for part in range(0, len(one), step):
                i, j = one[part : part + step], two[part : part + step]
                overlap = np.asarray(grams[i].multiply(grams[j]).sum(axis=1)).reshape(-1)
                yield _similar(i, j, overlap, size)


def _similar(
    one: Int64[np.ndarray, " pair"], two: Int64[np.ndarray, " pair"], shared: Any, size: Int64[np.ndarray, " text"]
) -> Int64[np.ndarray, "end link"]:
    enough = shared / (size[one] + size[two] - shared) >= SIMILAR
    return np.stack([one[enough], two[enough]])


def _prefixes(grams: Any, size: Int64[np.ndarray, " text"]) -> Any:
    """The rarest grams of each text."""
    from scipy.sparse import csr_matrix  # pyright: ignore[reportMissingTypeStubs]

    kept = size - np.ceil(SIMILAR * size - 1e-9).astype(np.int64) + 1
    place = np.arange(len(grams.indices)) - np.repeat(grams.indptr[:-1], size)
    taken = place < np.repeat(kept, size)
    starts = np.concatenate([[0], np.cumsum(kept)])
    return csr_matrix((grams.data[taken], grams.indices[taken], starts), shape=grams.shape)
