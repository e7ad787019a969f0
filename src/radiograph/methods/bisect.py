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
from typing import TYPE_CHECKING, Any

from radiograph.core import Context
from radiograph.methods._bisect.options import Config

if TYPE_CHECKING:
    from radiograph.evidence.reportcard.bisection import Bisection

__all__ = ["Config", "recompute", "run", "soup"]
RULES = {"bisect": 2}
ALIASES = ("adapters bisect",)
LIMITS = ("checkpoints", "log-bytes")
COMMANDS = ("eval_", "verb")


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
    """The whole record again, from the runs, their logs and the configuration."""
    from radiograph.methods._bisect import again
    from radiograph.store import derived

    return derived(lambda: again.problems(result, folder))
