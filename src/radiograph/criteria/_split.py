"""The halves: discover chooses, confirm is measured once.

1. a stratum is what a group holds: its kinds of rows, and the levels of its factors; strata of one mix of kinds follow
   each other, in the order of a keyed hash, so that remainders even out inside the mix
2. inside a stratum groups stand in the order of a keyed hash of (seed, group); the first half is discover
3. a split that is given decides instead: a group has the half of the names united in it

No group spans the split. Neither the order of rows nor the words of the criterion matter. A given split refuses groups
that it does not know, and groups whose names lie in both halves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from radiograph.core import UserError, derive, derive_many, visible
from radiograph.criteria._rows import Level
from radiograph.evidence import Half, RowKind, Split
from radiograph.numerics.criteria import discover_half

DISCOVER = 0.5
_HALVES = ("discover", "confirm")
_SHOWN = 5
_BIT: dict[RowKind, int] = {"positive": 1, "near_miss": 2, "negative": 4}


def halved(
    groups: Sequence[str],
    kinds: Sequence[RowKind],
    factors: Sequence[Mapping[str, Level]] | None,
    *,
    seed: int,
    discover: float = DISCOVER,
    known: tuple[list[str], NDArray[np.int64]] | None = None,
) -> NDArray[np.bool_]:
    """Which rows are discover; `known` is what `numbered` says of the groups."""
    names, row = numbered(groups) if known is None else known
    mixes = np.zeros(len(names), dtype=np.int64)
    np.bitwise_or.at(mixes, row, np.array([_BIT[kind] for kind in kinds], dtype=np.int64))
    strata = mixes if factors is None else _strata(mixes, row, factors, seed)
    keys = np.array(derive_many(seed, "split", names), dtype=np.int64)
    return discover_half(strata, keys, discover)[row]


def numbered(groups: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Names of groups in order, and the number of each row's."""
    names = sorted(set(groups))
    number = dict(zip(names, range(len(names)), strict=True))
    return names, np.fromiter(map(number.__getitem__, groups), np.int64, len(groups))


def split_of_rows(
    name: str, prompts: Sequence[str], groups: Sequence[str], halves: Sequence[str | None]
) -> Split | None:
    """The split that rows carry; None where none says of which half it is.

    Raises:
        UserError: rows of no half beside others, for which another split would be drawn unasked; a torn group.
    """
    if all(half is None for half in halves):
        return None
    wrong = [(prompt, half) for prompt, half in zip(prompts, halves, strict=True) if half not in _HALVES]
    if wrong:
        raise UserError(
            f"{len(wrong)} of {len(halves)} labelled rows of {name} name no half",
            where=f"split of prompt {visible(wrong[0][0], 60)!r}",
            expected=" or ".join(_HALVES),
            got=repr(wrong[0][1]),
            fix="mend the column, or name a split with --split",
            code="split_mismatch",
        )
    of = dict(zip(groups, halves, strict=True))
    torn = next((g for g, half in zip(groups, halves, strict=True) if of[g] != half), None)
    if torn is not None:
        raise UserError(f"group {torn!r} of {name} lies in both halves", where="split", code="split_mismatch")
    return Split.model_validate({"discover": DISCOVER, "seed": None, "halves": dict(sorted(of.items()))})


def as_given(groups: Sequence[str], sources: Sequence[str], split: Split) -> NDArray[np.bool_]:
    """Which rows are discover, by a split that was stored.

    Raises:
        UserError: a group that it does not know, or keeps apart.
    """
    known = split.halves
    found: dict[str, set[Half]] = defaultdict(set)
    for group, source in zip(groups, sources, strict=True):
        found[group] |= {known[name] for name in (group, source) if name in known}
    unknown = [name for name, halves in found.items() if not halves]
    torn = [name for name, halves in found.items() if len(halves) > 1]
    if unknown or torn:
        shown = [visible(name, 60) for name in (unknown or torn)[:_SHOWN]]
        raise UserError(
            f"{len(unknown or torn)} groups {'are not part of the split' if unknown else 'hold rows of both halves'}",
            where="--split",
            got=", ".join(shown) + (" …" if len(unknown or torn) > _SHOWN else ""),
            fix="give the split that was stored with these rows, or leave --split away"
            if unknown
            else "duplicate texts join groups that the split keeps apart: drop them, or leave --split away",
            code="split_mismatch",
        )
    return np.array([found[group] == {"discover"} for group in groups], dtype=bool)


def split_of(
    groups: Sequence[str], sources: Sequence[str], first: NDArray[np.bool_], *, seed: int | None, discover: float
) -> Split:
    """What to store: the half of every group, by each of its names."""
    of: tuple[Half, Half] = ("confirm", "discover")
    halves: dict[str, Half] = {}
    for group, source, chosen in zip(groups, sources, first.tolist(), strict=True):
        halves[group] = halves[source] = of[chosen]
    return Split(discover=discover, seed=seed, halves={name: halves[name] for name in sorted(halves)})


def _strata(
    mixes: NDArray[np.int64], row: NDArray[np.int64], factors: Sequence[Mapping[str, Level]], seed: int
) -> NDArray[np.int64]:
    """Numbers whose order is: mix of kinds, then a keyed hash of the mix and the levels of all factors."""
    levels: list[set[tuple[str, str]]] = [set() for _ in mixes]
    for group, own in zip(row.tolist(), factors, strict=True):
        levels[group].update((name, str(level)) for name, level in own.items())
    held = [(int(mix), tuple(sorted(own))) for mix, own in zip(mixes, levels, strict=True)]
    ordered = sorted(set(held), key=lambda s: (s[0], derive(seed, "stratum", repr(s)), s[1]))
    place = {stratum: i for i, stratum in enumerate(ordered)}
    return np.array([place[stratum] for stratum in held], dtype=np.int64)
