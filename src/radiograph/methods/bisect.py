"""Which checkpoint of a history is the first broken one, as git bisect finds a commit.

1. checkpoints, oldest first; an evaluation of one: a program without a shell (--eval), or a verb (--verb). 0 is good,
   a listed exit code broken (--broken-exit), 125 says "cannot say". With --metric a number on stdout decides instead
2. both ends, then halves between the last good and the first broken one; one that cannot say: its nearest neighbour.
   Equal contents are evaluated once
3. --repeats N: up to N runs until Wilson's interval of the share of broken runs leaves one half (a metric: until
   Student's interval leaves the threshold); else it is flaky, and cannot say. Where the answer hangs on flaky ones they
   are given up to two rounds more
4. neighbours of the boundary and random others are checked: a good one after a broken one is NOT_MONOTONE

Every run is kept with its exit code and what it wrote. A program that is missing is bad input; one that ends in any
other way, or not in time, is EVAL_ERROR and never BROKEN_AT. Exit codes: 2 BROKEN_AT · 0 ALL_OK · 4 FIRST_IS_BROKEN,
INCONCLUSIVE, NOT_MONOTONE, EVAL_ERROR · 3 bad input. A program that a file, a tool call or a request names is not run.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import Context, FolderPath, RunPath
from radiograph.core.config import Positional

if TYPE_CHECKING:
    from radiograph.evidence.reportcard.bisection import Bisection

ALIASES = ("adapters bisect",)
LIMITS = ("checkpoints", "log-bytes")
COMMANDS = ("eval_", "verb")


class Config(Base):
    """Which checkpoints, how one is evaluated, and when it is broken."""

    checkpoint: Annotated[tuple[FolderPath, ...], Positional()] = ()
    """Checkpoints, oldest first: files or folders."""
    folder: FolderPath | None = None
    """A folder whose entries are the checkpoints, in the order of the numbers in their names."""
    pattern: str = "checkpoint-*"
    """Which entries of the folder."""
    eval_: str | None = None
    """The program, split as a shell would and run without one; {ckpt} stands for the checkpoint."""
    verb: str | None = None
    """A radiograph verb with its options instead: exit 0 good, 2 broken, 4 skip, else an error."""
    metric: str | None = None
    """Dotted key of a number in the last JSON line on stdout; then any exit but 0 and 125 is an error."""
    broken_if: str | None = None
    """With --metric: which numbers are broken, as >0.05."""
    broken_exit: str = "1"
    """Exit codes that say broken, with commas."""
    timeout: str = "1h"
    """Seconds, minutes or hours that one run may take, as 90s, 30m, 1h."""
    repeats: int = Field(default=1, ge=1, le=1000)
    """Runs of one checkpoint at most."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Of the interval that decides repeats."""
    check: int = Field(default=2, ge=0, le=4096)
    """Untested checkpoints a side that are looked at after the search, besides both neighbours; 0: none."""
    scan: bool = False
    """Look at every checkpoint."""
    resume: RunPath | None = None
    """An earlier run, finished or .partial: what it ran is not run again."""
    plan_only: bool = False
    """Say what would be run, and run nothing."""
    schema_: Literal["radiograph", "soup"] = "radiograph"
    """Keys of the JSON; soup: those of soup-cli."""


def run(config: Config, ctx: Context) -> Bisection:
    """Search, check, say where."""
    from radiograph.methods._bisect import search

    return search.bisect(config, ctx)


def soup(result: Bisection) -> dict[str, Any]:
    """The keys of soup-cli's report.

    Raises:
        Refusal: an outcome that it has no word for.
    """
    from radiograph.methods._bisect import written

    return written.soup(result)


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """The order of the search, what repeats decided, and the answer again, from the runs."""
    from radiograph.methods._bisect import written

    return written.problems(result, folder)
