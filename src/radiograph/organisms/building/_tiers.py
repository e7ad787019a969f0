"""Which organisms a tier holds: one list for each part, from the tier's name alone.

              calibrate (benign)   degraded (broken)   test (benign)   broken   planted                           both
    ci                    -                   -              12        4    10, one a family                     -
    release             199                 150             100       40    60, and 30 mixed and 30 adaptive   20
Families take turns, so a list that is cut off anywhere is balanced. Places of parts that share a family differ by
`index`, so no draw is in two of them. `smoke` is the set that ships with the package.

`truth/split/tier.json` (`radiograph.tier/1`) says which finished organism belongs to which part, and, family by family
of the benign ones, which calibration models are left out when a test model of that family is judged.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from radiograph.evidence import OrganismTruth, OrganismVariant
from radiograph.organisms.recipes import families

Tier = Literal["smoke", "ci", "release"]
Part = Literal["calibrate", "degraded", "test", "broken", "planted", "both"]
SCHEMA = "radiograph.tier/1"
APART = 1000
"""Between the indices of parts that share a family."""


@dataclass(frozen=True, slots=True)
class Seat:
    """One organism of a tier."""

    part: Part
    family: str
    index: int
    variant: OrganismVariant = "plain"


def seats(tier: Tier, part: Part | None = None) -> tuple[Seat, ...]:
    """All organisms of a tier, or of one part of it, calibration first."""
    return tuple(seat for seat in _TIERS[tier]() if part in (None, seat.part))


def _ci() -> Iterator[Seat]:
    yield from _turns("test", "benign", 12)
    yield from _turns("broken", "broken", 4)
    yield from _turns("planted", "planted", 10)


def _release() -> Iterator[Seat]:
    yield from _turns("calibrate", "benign", 199, start=APART)
    yield from _turns("degraded", "broken", 150, start=2 * APART)
    yield from _turns("test", "benign", 100, start=2 * APART)
    yield from _turns("broken", "broken", 40, start=APART)
    yield from _turns("planted", "planted", 60, start=APART)
    yield from _turns("planted", "planted", 30, "mixed", start=APART)
    yield from _turns("planted", "planted", 30, "adaptive", start=APART)
    yield from _turns("both", "both", 20, start=APART)


_TIERS = {"smoke": lambda: iter(()), "ci": _ci, "release": _release}


def _turns(
    part: Part, intended: str, count: int, variant: OrganismVariant = "plain", *, start: int = 0
) -> Iterator[Seat]:
    names = [name for name, kind in families().items() if kind.intended == intended]
    for i in range(count):
        yield Seat(part, names[i % len(names)], start + i // len(names), variant)


def write_split(out: Path, tier: Tier, seed: int, taken: Sequence[tuple[Seat, OrganismTruth]]) -> Path:
    """Record where every organism that passed belongs, beside the truth; parts of earlier calls stay."""
    path = out / "truth" / "split" / "tier.json"
    before = json.loads(path.read_text(encoding="utf-8"))["organisms"] if path.is_file() else {}
    organisms = before | {
        truth.id: {"part": seat.part, "family": seat.family, "variant": seat.variant, "index": seat.index}
        for seat, truth in taken
        if truth.passed
    }
    folds = {
        name: sorted(
            key for key, entry in organisms.items() if entry["part"] == "calibrate" and entry["family"] == name
        )
        for name in sorted({entry["family"] for entry in organisms.values() if entry["part"] == "calibrate"})
    }
    record = {"schema": SCHEMA, "tier": tier, "seed": seed, "organisms": organisms, "left_out": folds}
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".partial")  # whoever calibrates meanwhile reads the old one or the new one
    unfinished.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return unfinished.replace(path)
