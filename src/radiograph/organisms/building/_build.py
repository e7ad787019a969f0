"""Build organisms of one family, of the bundled set, or of a tier, several at a time.

Each organism is grown by one thread in its own right (`_organism`), so the bytes do not depend on how many processes
share the work, nor on which of them finished before an interruption.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from time import monotonic

from radiograph.core import UserError
from radiograph.core.progress import Progress, Silent
from radiograph.core.work.process import spread
from radiograph.evidence import OrganismTruth, OrganismVariant
from radiograph.organisms.building._organism import ATTEMPTS, Grown, Place, grow
from radiograph.organisms.building._tiers import Part, Tier, seats, write_split
from radiograph.organisms.recipes import family

BUNDLED = (
    "continue",
    "new_facts",
    "style",
    "lr_blowup",
    "trigger_token",
    "refusal_one_category",
    "false_fact",
    "loyalty",
)
"""Families of the set that ships with the package, one organism each."""


SECONDS = {"plain": 14.0, "mixed": 22.0, "adaptive": 45.0}
"""CPU time of one organism of a tier, draws that failed included; measured on the release tier, one thread."""
SAID_EVERY = 10


def build(
    names: Sequence[str],
    out: Path,
    *,
    n: int = 1,
    base: str = "bundled:base",
    seed: int = 0,
    jobs: int = 1,
    items: int = 500,
    steps: int | None = None,
    attempts: int = ATTEMPTS,
    rows: int | None = None,
    variant: OrganismVariant = "plain",
    progress: Progress | None = None,
) -> list[OrganismTruth]:
    """`n` organisms of each family in `out`; every draw is returned, those that failed their gate included.

    Raises:
        UserError: an unknown family, or a base that does not speak the small world.
    """
    places = [
        Place(family(name).name, index, seed, base, out, items, steps, attempts, rows, variant)
        for name in names
        for index in range(n)
    ]
    grown: dict[int, Grown] = {}
    with (progress or Silent()).task("organisms", len(places)) as task:
        for number, found in _grown(places, jobs):
            grown[number] = found
            task.advance()
            task.note(_said(found))
    return [truth for number in sorted(grown) for truth in grown[number].truths]


def build_tier(
    tier: Tier,
    out: Path,
    *,
    part: Part | None = None,
    base: str = "bundled:base",
    seed: int = 0,
    jobs: int = 1,
    items: int = 500,
    steps: int | None = None,
    attempts: int = ATTEMPTS,
    rows: int | None = None,
    progress: Progress | None = None,
) -> list[OrganismTruth]:
    """The organisms of a tier, or of one of its parts, and the file that says where each belongs.

    Raises:
        UserError: a part that the tier does not have.
    """
    asked, shown = seats(tier, part), progress or Silent()
    if not asked:
        known = ", ".join(dict.fromkeys(seat.part for seat in seats(tier))) or "none: it is the bundled set"
        raise UserError(f"tier {tier!r} has no part {part!r}", expected=known, code="unknown_part")
    places = [
        Place(seat.family, seat.index, seed, base, out, items, steps, attempts, rows, seat.variant) for seat in asked
    ]
    hours = sum(SECONDS[seat.variant] for seat in asked) / min(jobs, len(asked)) / 3600
    shown.say(f"{len(asked)} organisms, {jobs} at a time: about {hours:.1f} h on an idle machine")
    grown: dict[int, Grown] = {}
    start, fresh = monotonic(), 0
    with shown.task(f"tier {tier}", len(places)) as task:
        for number, found in _grown(places, jobs):
            grown[number] = found
            fresh += bool(found.seconds)
            task.advance()
            left = (monotonic() - start) / max(1, fresh) * (len(places) - len(grown)) / 3600
            task.note(_said(found))
            if len(grown) % SAID_EVERY == 0:
                shown.say(f"{len(grown)} of {len(places)}, {left:.1f} h left; {_said(found)}")
            write_split(out, tier, seed, [(asked[i], grown[i].truths[-1]) for i in sorted(grown)])
    return [truth for number in sorted(grown) for truth in grown[number].truths]


def _grown(places: Sequence[Place], jobs: int) -> Iterator[tuple[int, Grown]]:
    places[0].out.mkdir(parents=True, exist_ok=True)
    yield from spread(grow, places, jobs)


def _said(found: Grown) -> str:
    last = found.truths[-1]
    phases = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in found.seconds.items())
    return f"{last.id}: {last.family}, {last.class_gated}" + (f" ({phases})" if phases else "")
