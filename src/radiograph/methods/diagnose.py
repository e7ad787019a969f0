"""A report card of behaviour: what the candidate lost, refuses, breaks, repeats, memorised or has seen before.

1. forgetting, refusal, format, citation: both models answer the suite (--suite); items that are nearly a training row
   are left out and counted
2. mode_collapse: eight samples of both models on each prompt; memorisation, contamination: the training rows (--data)
   and what they are compared with (--held-out, --benchmark)
3. every mode: a score in [0, 1], its 95 % interval over groups, and a band: OK from .85, MINOR from .60, MAJOR below.
   OK and MINOR by the lower end, MAJOR by the upper one, else INCONCLUSIVE. A mode without what it needs, or one that
   raises, is NOT-MEASURED and never a pass
4. --attach puts what other runs found on the card; --evidence shows scores of elsewhere, marked as supplied

Overall is the worst band measured. Exit codes: 2 a mode is MAJOR · 4 one that was asked for is NOT-MEASURED or
INCONCLUSIVE, or there is nothing to measure on · 0. The reference against itself scores 1 wherever both are compared.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import Context, FilePath, ModelRef, RunPath, SuiteRef

if TYPE_CHECKING:
    from radiograph.evidence.reportcard.card import ReportCard

LIMITS = ("extras", "losses-bytes", "rows")
Mode = Literal["forgetting", "refusal", "format", "mode_collapse", "memorisation", "contamination", "citation"]


class Config(Base):
    """Which models, on what, and what is shown beside."""

    reference: ModelRef
    """The model before."""
    candidate: ModelRef
    """The model after."""
    suite: SuiteRef | None = None
    """Prompts with checks: a file, or world:suite. Serves forgetting, refusal, format, citation, mode_collapse."""
    data: FilePath | None = None
    """The candidate's training rows, JSON Lines: for memorisation, contamination, and to keep other data held out."""
    held_out: FilePath | None = None
    """Rows of the same source that were not trained on: the control of memorisation."""
    benchmark: FilePath | None = None
    """Items that must not stand in the training rows, JSON Lines of {text} or {prompt}."""
    modes: tuple[Mode, ...] = ()
    """Modes asked for; default: those whose data were given."""
    ngram: int = Field(default=8, ge=2, le=64)
    """Words in a row that count as the same place, for contamination."""
    samples: int = Field(default=8, ge=2, le=64)
    """Samples a prompt, for mode_collapse."""
    evidence: FilePath | None = None
    """Scores of elsewhere, as soup-cli writes them: shown as supplied."""
    attach: tuple[RunPath, ...] = ()
    """Runs of sae-diff, defection, truth, harm, interference or blame that go on the card."""
    badge: FilePath | None = None
    """Also write a badge to this file, an SVG."""
    allow_not_measured: bool = False
    """Exit 0 though a mode that was asked for is not measured."""
    chat: Literal["template", "plain"] = "template"
    """How prompts are rendered."""
    schema_: Literal["radiograph", "soup"] = "radiograph"
    """Keys of the JSON; soup: those of soup-cli."""


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
    """Scores, intervals, bands and the overall one again, from the tables."""
    from radiograph.methods._diagnose import written

    return written.problems(result, folder)
