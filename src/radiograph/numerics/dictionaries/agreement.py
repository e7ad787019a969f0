"""Do two dictionaries of one site hold the same features, and is that more than their shapes alone would give?

1. Pairs: Hungarian on decoder cosine up to 4,096 features a side, mutual nearest neighbours above (an assignment of
   131k rows takes days).
2. A pair is shared if its decoder *and* its encoder cosine exceed .7 (Paulo and Belrose 2025); the share is of the
   smaller dictionary's features. MMCS both ways: mean over rows of the largest cosine with a row of the other.
3. Null: rows drawn from a normal law with the second moments of the other decoder, as many, paired the same way and
   taken as their own encoders. A share below the null is no agreement at all.

Intervals: Wilson for the share, resampled rows for MMCS. Rows of length zero match nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Float, Float64, Int
from radiograph.numerics.dictionaries.assignment import assignment
from radiograph.numerics.dictionaries.units import draws, ratio_interval
from radiograph.numerics.proportions import Interval, wilson

SHARED = 0.7
HUNGARIAN = 4096
_BLOCK = 4096

Rows = Float[np.ndarray, "_ _"]


@dataclass(frozen=True, eq=False)
class SeedAgreement:
    """How two dictionaries overlap."""

    pairing: str
    """`hungarian` or `mutual_nearest`."""
    pairs: Int[np.ndarray, "pair 2"]
    decoder_cosine: Float64[np.ndarray, " pair"]
    encoder_cosine: Float64[np.ndarray, " pair"]
    n: int
    """Features of the smaller dictionary."""
    shared: int
    shared_interval: Interval
    mmcs: float
    """Rows of the first among those of the second."""
    mmcs_interval: Interval | None
    mmcs_back: float
    null_shared: int
    null_mmcs: float


def seed_agreement(
    decoder: Rows, encoder: Rows, other_decoder: Rows, other_encoder: Rows, *, seed: int
) -> SeedAgreement:
    """Agreement of two dictionaries of equal width.

    Raises:
        UserError: widths differ.
    """
    if decoder.shape[1] != other_decoder.shape[1] or encoder.shape[1] != other_encoder.shape[1]:
        got = f"{decoder.shape[1]} and {other_decoder.shape[1]}"
        raise UserError("dictionaries of different widths have nothing to compare", got=got, code="dictionary_mismatch")
    ours, theirs = _unit(decoder), _unit(other_decoder)
    left, right, forth, back = _paired(ours, theirs)
    at_decoder = _along(ours, theirs, left, right)
    at_encoder = _along(_unit(encoder), _unit(other_encoder), left, right)
    null = _unit(_like(theirs, seed))
    a, b, null_forth, _ = _paired(ours, null)
    smaller = min(len(ours), len(theirs))
    shared = int(((at_decoder > SHARED) & (at_encoder > SHARED)).sum())
    return SeedAgreement(
        pairing="hungarian" if max(len(ours), len(theirs)) <= HUNGARIAN else "mutual_nearest",
        pairs=np.stack([left, right], axis=1),
        decoder_cosine=at_decoder,
        encoder_cosine=at_encoder,
        n=smaller,
        shared=shared,
        shared_interval=wilson(shared, smaller),
        mmcs=float(forth.mean()),
        mmcs_interval=ratio_interval(forth, np.ones(len(forth)), draws(len(forth), seed=seed)),
        mmcs_back=float(back.mean()),
        null_shared=int((_along(ours, null, a, b) > SHARED).sum()),
        null_mmcs=float(null_forth.mean()),
    )


def _paired(
    ours: Rows, theirs: Rows
) -> tuple[
    Int[np.ndarray, " pair"],
    Int[np.ndarray, " pair"],
    Float64[np.ndarray, " feature"],
    Float64[np.ndarray, " other"],
]:
    """Pairs, and the largest cosine of each row with one of the other side."""
    if max(len(ours), len(theirs)) <= HUNGARIAN:
        cosines = (ours @ theirs.T).astype(np.float64)
        left, right = assignment(cosines)
        return left, right, cosines.max(axis=1), cosines.max(axis=0)
    forth, best = _nearest(ours, theirs)
    back, best_back = _nearest(theirs, ours)
    left = np.flatnonzero(best_back[best] == np.arange(len(ours)))
    return left, best[left], forth, back


def _nearest(rows: Rows, others: Rows) -> tuple[Float64[np.ndarray, " row"], Int[np.ndarray, " row"]]:
    cosine, index = np.empty(len(rows)), np.empty(len(rows), dtype=np.int64)
    for start in range(0, len(rows), _BLOCK):
        part = slice(start, start + _BLOCK)
        best, place = np.full(len(rows[part]), -np.inf), np.zeros(len(rows[part]), dtype=np.int64)
        for column in range(0, len(others), _BLOCK):
            cosines = rows[part] @ others[column : column + _BLOCK].T
            found = cosines.argmax(axis=1)
            largest = cosines[np.arange(len(found)), found]
            place = np.where(largest > best, found + column, place)
            best = np.maximum(best, largest)
        cosine[part], index[part] = best, place
    return cosine, index


def _like(rows: Rows, seed: int) -> Rows:
    """As many rows from a normal law with the second moments of these."""
    mean = rows.mean(axis=0, dtype=np.float64)
    spread = (rows - mean).astype(np.float64)
    generator = np.random.default_rng((seed, *b"null"))
    # x = mean + Gᵀ(rows − mean)/√F has the covariance of the rows without a factorisation of a d × d matrix.
    if len(rows) <= rows.shape[1]:
        return (mean + generator.standard_normal((len(rows), len(rows))) @ spread / len(rows) ** 0.5).astype(rows.dtype)
    values, vectors = np.linalg.eigh(spread.T @ spread / len(rows))
    drawn = generator.standard_normal(rows.shape) * np.sqrt(np.maximum(values, 0))
    return (mean + drawn @ vectors.T).astype(rows.dtype)


def _along(
    rows: Rows, others: Rows, left: Int[np.ndarray, " pair"], right: Int[np.ndarray, " pair"]
) -> Float64[np.ndarray, " pair"]:
    cosines = np.empty(len(left))
    for start in range(0, len(left), _BLOCK):
        part = slice(start, start + _BLOCK)
        cosines[part] = np.einsum("pw,pw->p", rows[left[part]], others[right[part]], dtype=np.float64)
    return cosines


def _unit(rows: Rows) -> Rows:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1)
