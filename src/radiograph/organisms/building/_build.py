"""Build organisms of one family, or the bundled set, several at a time.

Each organism is grown by one thread in its own right (`_organism`), so the bytes do not depend on how many processes
share the work, nor on which of them finished before an interruption.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from radiograph.core.progress import Progress, Silent
from radiograph.core.work.process import spread
from radiograph.evidence import OrganismTruth
from radiograph.organisms.building._organism import ATTEMPTS, Place, grow
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
    progress: Progress | None = None,
) -> list[OrganismTruth]:
    """`n` organisms of each family in `out`; every draw is returned, those that failed their gate included.

    Raises:
        UserError: an unknown family, or a base that does not speak the small world.
    """
    places = [
        Place(family(name).name, index, seed, base, out, items, steps, attempts, rows)
        for name in names
        for index in range(n)
    ]
    out.mkdir(parents=True, exist_ok=True)
    grown: dict[int, list[OrganismTruth]] = {}
    with (progress or Silent()).task("organisms", len(places)) as task:
        for number, found in spread(grow, places, jobs):
            grown[number] = found
            task.advance()
            task.note(f"{found[-1].id}: {found[-1].class_gated}")
    return [truth for number in sorted(grown) for truth in grown[number]]
