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
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from radiograph.core import UserError, derive, visible
from radiograph.criteria._rows import Row
from radiograph.evidence import Half, Split
from radiograph.numerics.criteria import discover_half

DISCOVER = 0.5
_SHOWN = 5


def halved(rows: Sequence[Row], *, seed: int, discover: float = DISCOVER, given: Split | None = None) -> list[Row]:
    """Rows with their halves, in the order given.

    Raises:
        UserError: a given split does not fit.
    """
    members: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        members[row.group].append(row)
    halves = _drawn(members, seed, discover) if given is None else _given(members, given)
    return [replace(row, half=halves[row.group]) for row in rows]


def split_of(rows: Sequence[Row], *, seed: int | None, discover: float = DISCOVER) -> Split:
    """What to store: the half of every group, by each of its names."""
    halves: dict[str, Half] = {}
    for row in rows:
        halves[row.source_group] = halves[row.group] = row.half
    return Split(discover=discover, seed=seed, halves=dict(sorted(halves.items())))


def _drawn(members: dict[str, list[Row]], seed: int, discover: float) -> dict[str, Half]:
    names = sorted(members)
    mixes = [tuple(sorted({row.kind for row in members[name]})) for name in names]
    levels = [tuple(sorted({(f, str(v)) for row in members[n] for f, v in row.factors.items()})) for n in names]
    strata = list(zip(mixes, levels, strict=True))
    places = {s: i for i, s in enumerate(sorted(set(strata), key=lambda s: (s[0], derive(seed, "stratum", repr(s)))))}
    first = discover_half(
        np.array([places[s] for s in strata], dtype=np.int64),
        np.array([derive(seed, "split", name) for name in names], dtype=np.int64),
        discover,
    )
    names_of: tuple[Half, Half] = ("confirm", "discover")
    return {name: names_of[chosen] for name, chosen in zip(names, first.tolist(), strict=True)}


def _given(members: dict[str, list[Row]], split: Split) -> dict[str, Half]:
    out: dict[str, Half] = {}
    unknown: list[str] = []
    torn: list[str] = []
    for name, own in members.items():
        found: set[Half] = {split.halves[n] for row in own for n in (row.group, row.source_group) if n in split.halves}
        if len(found) == 1:
            out[name] = next(iter(found))
        else:
            (torn if found else unknown).append(name)
    if unknown or torn:
        what = "are not part of the split" if unknown else "hold rows of both halves"
        shown = [visible(name, 60) for name in (unknown or torn)[:_SHOWN]]
        raise UserError(
            f"{len(unknown or torn)} groups {what}",
            where="--split",
            got=", ".join(shown) + (" …" if len(unknown or torn) > _SHOWN else ""),
            fix="give the split that was stored with these rows, or leave --split away"
            if unknown
            else "duplicate texts join groups that the split keeps apart: drop them, or leave --split away",
            code="split_mismatch",
        )
    return out
