"""Which explained features point the same way as an unexplained one, and is that closer than chance?

1. Cosine of each query row with every candidate row, in blocks of candidates, so that memory stays below twice
   queries × block (256 × 16,384 cosines at most); norms are taken once. Exact: every pair is compared. Rows of norm
   zero are nobody's neighbour. Of a block only cosines at or above the k-th best so far are looked at again; for the
   first block that bound comes from maxima of groups: k groups have a maximum at or above the k-th largest of these.
2. Null: the best cosine of each of 1,000 random directions with the same candidates; `chance` is its 95 % point. In 64
   dimensions it is about .4 to .5, in 1,152 about .13: a fixed cut-off means nothing without it.
3. Label: `direct` with an explanation of its own; else `proxy` if the nearest explained neighbour has cosine ≥
   max(.3, chance); else `low_similarity`, or `none` without a neighbour at ≥ .15. Only direct and proxy carry a text.

Products run in the dtype of the rows (float32 or float64), the cosines returned in float64. Ties go to the lower index.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Bool, Float, Float64, Int

Label = Literal["direct", "proxy", "low_similarity", "none"]

LEAST_COSINE = 0.15
LEAST_PROXY = 0.3
_BLOCK = 16_384
_CELLS = 256 * _BLOCK
_GATHERED = 512
_GROUPED = 32
_DIRECTIONS = 1000


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Nearest candidates of one query, best first; fewer than asked for where too few are close enough."""

    index: Int[np.ndarray, " k"]
    cosine: Float64[np.ndarray, " k"]


def nearest_rows(
    rows: Float[np.ndarray, "feature width"],
    queries: Int[np.ndarray, " query"],
    *,
    k: int = 10,
    candidates: Bool[np.ndarray, " feature"] | None = None,
    least: float = LEAST_COSINE,
    norms: Float[np.ndarray, " feature"] | None = None,
) -> tuple[Neighbours, ...]:
    """The k candidate rows of largest cosine ≥ `least` for each query row, itself left out.

    `norms` of the rows, if they are known, save a pass over them where one search follows another.

    Raises:
        UserError: k < 1, a query outside the rows, a row that is not finite.
    """
    if k < 1 or (len(queries) and (queries.min() < 0 or queries.max() >= len(rows))):
        raise UserError("neighbours need k ≥ 1 and queries among the rows", got=f"k {k}, {len(rows)} rows")
    norms = _norms(rows) if norms is None else norms
    index = _live(norms, candidates)
    unit = rows[queries] / np.where(norms[queries] > 0, norms[queries], 1)[:, None]
    asked, found = _close(rows, norms, index, queries, unit, k, least)
    exact = _cosines(rows, queries[asked], found)
    order = np.lexsort((found, -exact, asked))
    asked, found, exact = asked[order], found[order], exact[order]
    bounds = np.searchsorted(asked, np.arange(len(queries) + 1))
    kept = [slice(a, b) for a, b in pairwise(bounds)]
    return tuple(_first(Neighbours(found[part], exact[part]), k, least) for part in kept)


def chance_cosine(
    rows: Float[np.ndarray, "feature width"],
    candidates: Bool[np.ndarray, " feature"] | None = None,
    *,
    seed: int,
    quantile: float = 0.95,
) -> float:
    """95 % point of the best cosine of 1,000 random directions with the candidate rows; 0 without candidates."""
    norms = _norms(rows)
    index = _live(norms, candidates)
    if len(index) == 0:
        return 0.0
    directions = np.random.default_rng(seed).standard_normal((_DIRECTIONS, rows.shape[1]))
    directions = (directions / np.linalg.norm(directions, axis=1, keepdims=True)).astype(rows.dtype)
    best = np.full(_DIRECTIONS, -1.0)
    for _, cosines in _blocks(rows, norms, index, directions):
        best = np.maximum(best, cosines.max(axis=0))
    return float(np.quantile(best, quantile))


def label_kind(explained: bool, best_cosine: float | None, chance: float) -> Label:
    """How a feature may be labelled; `best_cosine` is that of its nearest explained neighbour, None if it has none."""
    if explained:
        return "direct"
    if best_cosine is None or best_cosine < LEAST_COSINE:
        return "none"
    return "proxy" if best_cosine >= max(LEAST_PROXY, chance) else "low_similarity"


def _norms(rows: Float[np.ndarray, "feature width"]) -> Float[np.ndarray, " feature"]:
    """Row norms in the dtype of the rows: good enough to search by, since what is found is measured again."""
    squares = np.einsum("fw,fw->f", rows, rows)
    if not np.isfinite(squares).all():
        raise UserError("a row is not finite", where=f"row {int(np.argmin(np.isfinite(squares)))}", code="not_finite")
    return np.sqrt(squares)


def _live(
    norms: Float[np.ndarray, " feature"], candidates: Bool[np.ndarray, " feature"] | None
) -> Int[np.ndarray, " candidate"]:
    return np.flatnonzero(norms > 0 if candidates is None else candidates & (norms > 0))


def _blocks(
    rows: Float[np.ndarray, "feature width"],
    norms: Float[np.ndarray, " feature"],
    index: Int[np.ndarray, " candidate"],
    unit: Float[np.ndarray, "query width"],
) -> Iterator[tuple[Int[np.ndarray, " block"], Float[np.ndarray, "block query"]]]:
    """Cosines of one block of candidates after another with all queries, in memory that the next block overwrites."""
    step = _step(index, len(unit))
    out = np.empty((step, len(unit)), dtype=np.result_type(rows, unit))
    for start in range(0, len(index), step):
        block = index[start : start + step]
        cosines = out[: len(block)]
        if int(block[-1]) - int(block[0]) + 1 == len(block):
            # Neighbouring rows are read in place; only a gap costs a copy.
            np.matmul(rows[block[0] : block[-1] + 1], unit.T, out=cosines)
        else:
            for piece in range(0, len(block), _GATHERED):
                part = slice(piece, piece + _GATHERED)
                np.matmul(rows[block[part]], unit.T, out=cosines[part])
        cosines /= norms[block][:, None]
        yield block, cosines


def _step(index: Int[np.ndarray, " candidate"], queries: int) -> int:
    """Candidates per block."""
    return max(1, min(_BLOCK, _CELLS // max(1, queries), len(index)))


def _close(
    rows: Float[np.ndarray, "feature width"],
    norms: Float[np.ndarray, " feature"],
    index: Int[np.ndarray, " candidate"],
    queries: Int[np.ndarray, " query"],
    unit: Float[np.ndarray, "query width"],
    k: int,
    least: float,
) -> tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"]]:
    """Pairs (query, candidate) that hold the k best of each query, and a few more: rounding never loses one."""
    slack = 16 * float(np.finfo(rows.dtype).eps) * rows.shape[1] ** 0.5
    floor = np.where(norms[queries] > 0, least, np.inf) - slack
    asked, found = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    near = np.zeros(0, dtype=rows.dtype)
    high = np.empty((_step(index, len(queries)), len(queries)), dtype=bool)
    for number, (block, cosines) in enumerate(_blocks(rows, norms, index, unit)):
        place = np.minimum(np.searchsorted(block, queries), len(block) - 1)
        own = np.flatnonzero(block[place] == queries)
        cosines[place[own], own] = -np.inf
        if number == 0:
            floor = np.maximum(floor, _bound(cosines, k) - slack)
        hits = np.flatnonzero(np.greater_equal(cosines, floor.astype(cosines.dtype), out=high[: len(block)]))
        asked = np.concatenate([asked, hits % len(queries)])
        found = np.concatenate([found, block[hits // len(queries)]])
        near = np.concatenate([near, cosines.ravel()[hits]])
        order = np.lexsort((-near, asked))
        asked, found, near = asked[order], found[order], near[order]
        counts = np.bincount(asked, minlength=len(queries))
        full = np.flatnonzero(counts >= k)
        last = near[(np.cumsum(counts) - counts)[full] + k - 1]
        floor[full] = np.maximum(floor[full], last - slack)
        kept = near >= floor[asked]
        asked, found, near = asked[kept], found[kept], near[kept]
    return asked, found


def _bound(cosines: Float[np.ndarray, "block query"], k: int) -> Float[np.ndarray, " query"]:
    """A lower bound on the k-th largest cosine of each query, -∞ where the block is too short to tell cheaply."""
    groups = len(cosines) // _GROUPED
    if groups <= k:
        return np.full_like(cosines[0], -np.inf)
    held = cosines[: groups * _GROUPED].reshape(_GROUPED, groups, -1)
    maxima: Float[np.ndarray, "group query"] = np.maximum.reduce(held, axis=0)
    maxima.partition(groups - k, axis=0)
    return maxima[groups - k]


def _cosines(
    rows: Float[np.ndarray, "feature width"], left: Int[np.ndarray, " pair"], right: Int[np.ndarray, " pair"]
) -> Float64[np.ndarray, " pair"]:
    """Cosine of each pair in float64, a block of pairs at a time."""
    cosines = np.empty(len(left))
    for start in range(0, len(left), _GATHERED):
        part = slice(start, start + _GATHERED)
        a, b = rows[left[part]].astype(np.float64), rows[right[part]].astype(np.float64)
        norms = np.sqrt(np.einsum("pw,pw->p", a, a) * np.einsum("pw,pw->p", b, b))
        cosines[part] = np.einsum("pw,pw->p", a, b) / norms
    return cosines


def _first(found: Neighbours, k: int, least: float) -> Neighbours:
    kept = found.cosine[:k] >= least
    return Neighbours(found.index[:k][kept], found.cosine[:k][kept])
