"""A report card of behaviour: what the candidate lost, refuses, breaks, repeats, memorised or has seen before.

1. forgetting, refusal, format, citation: both models answer the suite (--suite); items that are nearly a training row
   are left out and counted
2. mode_collapse: eight samples of both models on each prompt; memorisation, contamination: the training rows (--data)
   and what they are compared with (--held-out; --benchmark, and with --ordered whether the candidate knows its order)
3. every mode: a score in [0, 1], its 95 % interval over groups, and a band: OK from .85, MINOR from .60, MAJOR below.
   OK and MINOR by the lower end, MAJOR by the upper one, else INCONCLUSIVE. A mode without what it needs, with fewer
   than 12 groups that say something, or one that raises, is NOT-MEASURED and never a pass
4. --attach puts what other runs found on the card; --evidence shows scores of elsewhere, marked as supplied

Overall is the worst band measured. Exit codes: 2 a mode is MAJOR · 4 one that was asked for is NOT-MEASURED or
INCONCLUSIVE, or there is nothing to measure on · 0. The reference against itself scores 1 wherever both are compared.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from radiograph.core import Context
from radiograph.methods._diagnose.options import Config

if TYPE_CHECKING:
    from radiograph.evidence.reportcard.card import ReportCard

__all__ = ["Config", "recompute", "run", "soup"]
RULES = {"card": 2}
LIMITS = ("extras", "losses-bytes", "rows")


def run(config: Config, ctx: Context) -> ReportCard:
    """Measure each mode, put the card together."""
    from radiograph.methods._diagnose import card

    return card.diagnose(config, ctx)


def soup(result: ReportCard) -> dict[str, Any]:
    """The keys of soup-cli's report.

    Raises:
        Refusal: no mode was measured, or one has no band there.
    """
    from radiograph.methods._diagnose import written

    return written.soup(result)


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """The card again, from the tables, the scores that were supplied and what attached runs say."""
    from radiograph.methods._diagnose import written
    from radiograph.store import derived

    return derived(lambda: written.problems(result, folder))


def as_written(result: dict[str, Any], folder: Path) -> list[str]:
    """Texts and hashes that no table holds."""
    from radiograph.methods._diagnose import written

    return written.as_written(result, folder)
