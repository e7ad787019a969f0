"""Uniform samples that do not depend on order, batches or workers: the n smallest keyed hashes.

A key is a hash of (seed, who, where), so the items with the n smallest keys are a uniform sample without replacement,
and the sample of a union is the n smallest of the union of samples. A reservoir depends on the order; a cap a batch
favours rare batches. Mixing: SplitMix64's finaliser (Steele, Lea and Flood 2014), twice.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from radiograph.core import derive_many
from radiograph.core.shapes import Int, Int64, UInt64

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def text_keys(seed: int, purpose: str, names: Iterable[str]) -> UInt64[np.ndarray, " name"]:
    """A 64-bit key of each name."""
    return np.array(derive_many(seed, purpose, names), np.uint64)


def keys(
    who: UInt64[np.ndarray, "..."], where: UInt64[np.ndarray, "..."], place: Int[np.ndarray, "..."]
) -> UInt64[np.ndarray, "..."]:
    """The key of each item from those of its owner and of its text, and its place in the text."""
    with np.errstate(over="ignore"):
        inner = _mixed(where + _GOLDEN * (place.astype(np.uint64) + np.uint64(1)))
        return _mixed(who ^ inner)


def smallest(owner: Int[np.ndarray, " item"], key: UInt64[np.ndarray, " item"], n: int) -> Int64[np.ndarray, " chosen"]:
    """Places of the n smallest keys of each owner, by owner and key; equal keys keep the order that they came in."""
    order = _ordered(owner, key)
    sorted_owner = owner[order]
    first = np.ones(len(order), bool)
    first[1:] = sorted_owner[1:] != sorted_owner[:-1]
    starts = np.flatnonzero(first)
    rank = np.arange(len(order)) - np.repeat(starts, np.diff(np.append(starts, len(order))))
    return order[rank < n]


def _ordered(owner: Int[np.ndarray, " item"], key: UInt64[np.ndarray, " item"]) -> Int64[np.ndarray, " item"]:
    """By owner and key. Both in one number sort eight times as fast; where what was cut off decides, they do not."""
    bits = np.uint64(max(1, int(owner.max(initial=0)).bit_length()))
    both = (owner.astype(np.uint64) << (np.uint64(64) - bits)) | (key >> bits)
    order = np.argsort(both)
    found = both[order]
    return np.lexsort((key, owner)) if (found[1:] == found[:-1]).any() else order


def likely(owner: Int[np.ndarray, " item"], owners: int, n: int) -> UInt64[np.ndarray, " item"]:
    """For each item a bound below which the n smallest keys of its owner almost surely lie: n/m + 6 √n/m of all keys.

    Whoever uses it checks that enough were found: it saves sorting all keys, and decides nothing.
    """
    m = np.bincount(owner, minlength=owners).astype(np.float64)
    share = np.minimum(1.0, (n + 6.0 * np.sqrt(n) + 6.0) / np.maximum(m, 1.0))
    bound = np.where(share >= 1.0, np.uint64(2**64 - 1), (share * 2.0**63).astype(np.uint64) << np.uint64(1))
    return bound.astype(np.uint64)[owner]


def _mixed(values: UInt64[np.ndarray, "..."]) -> UInt64[np.ndarray, "..."]:
    z = values + _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
