"""The options of `diagnose`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import FilePath, ModelRef, RunPath, SuiteRef

Mode = Literal["forgetting", "refusal", "format", "mode_collapse", "memorisation", "contamination", "citation"]


class Config(Base):
    """Which models, on what, and what is shown beside."""

    reference: ModelRef
    """The model before."""
    candidate: ModelRef
    """The model after."""
    suite: SuiteRef | None = None
    """Prompts with checks: a file, world:suite, english:refusals. For all modes but memorisation and contamination."""
    data: FilePath | None = None
    """The candidate's training rows, JSON Lines: for memorisation, contamination, and to keep other data held out."""
    held_out: FilePath | None = None
    """Rows of the same source that were not trained on: the control of memorisation."""
    benchmark: FilePath | None = None
    """Items that must not stand in the training rows, JSON Lines of {text} or {prompt}."""
    ordered: bool = False
    """The benchmark stands in the order in which it was published: test whether the candidate knows it."""
    forms: FilePath | None = None
    """JSON file of forms that prompts name as their format: schemas, patterns, tools, lists."""
    labelled: FilePath | None = None
    """Labelled answers, JSON Lines of {answer, refusal}: measure the detector of refusals on these."""
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
