"""A criterion: a concept in words together with the labelled rows that make it operational, and how they are split.

`radiograph.criterion/1` holds counts and hashes; the rows themselves are a table beside it. `radiograph.split/1` names
the half of every group, so that a later study can keep to it.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from radiograph.evidence._record import Document, Record, document_sha256
from radiograph.evidence._statistics import Estimate

RowKind = Literal["positive", "near_miss", "negative"]
Half = Literal["discover", "confirm"]
CriterionWarning = Literal["surface_labels", "no_near_miss", "few_groups", "large_group", "contradictions"]
CRITERION_WARNINGS: Final[dict[CriterionWarning, str]] = {
    "surface_labels": "the labels can be told from the surface of the texts (length, or words alone) on held-out rows",
    "no_near_miss": "there are no near misses: a feature of the form cannot be told from one of the concept",
    "few_groups": "a half has fewer than 8 independent groups",
    "large_group": "one group holds more than half of the rows",
    "contradictions": "texts that carried both labels were left out",
}
"""What each warning of a criterion means."""


class CriterionRoute(Record):
    """Where rows came from."""

    route: str
    rows: int
    """Before anything was dropped."""
    sha256: str | None = None
    """Of the file, where there is one."""


class CriterionRows(Record):
    """Counts of what is left."""

    positive: int
    near_miss: int
    negative: int
    groups: int
    dropped: dict[str, int] = Field(default_factory=dict)
    """`duplicate` (a text that is there already), `contradiction` (a text with both labels), `disagreement`."""


class CriterionLabeller(Record):
    """Who wrote the rows of the `llm` route, who labelled them blind, and how far they agree."""

    writer: str
    model: str
    prompts: tuple[str, ...]
    """Names and versions of the prompts."""
    kappa: Estimate
    """Cohen's κ of intended and blind labels; 0 is chance."""
    questions: int
    failed: int
    disagreements: int


class CriterionSplit(Record):
    """How groups are divided. Nothing that is measured on confirm chooses anything."""

    unit: Literal["group"] = "group"
    discover: float
    """Share of the groups."""
    seed: int | None
    """None for a split that was given."""
    groups: tuple[int, int]
    """In discover, in confirm."""
    sha256: str
    """Over group and half of every group: `Split.sha256` of the stored split."""


class CriterionSurface(Record):
    """Held-out AUROC of text baselines; .5 is chance, None where a half lacks a class or rows have no text."""

    length: float | None
    words: float | None
    n: int
    """Rows."""


class Criterion(Document):
    """`criterion.json`."""

    SCHEMA: ClassVar[str] = "radiograph.criterion/1"

    id: str
    text: str
    level: Literal["prompt", "token"]
    definition: str | None = None
    """What the writer of the `llm` route understood."""
    routes: tuple[CriterionRoute, ...]
    rows: CriterionRows
    rows_sha256: str
    """Over the table of rows."""
    labeller: CriterionLabeller | None = None
    split: CriterionSplit
    surface: CriterionSurface
    warnings: tuple[CriterionWarning, ...] = ()
    private: bool = False
    """Rows that it was compiled from, or records that it was studied on, are marked private: `publish` stops here."""


class Split(Document):
    """The half of every group, by every name that the group has."""

    SCHEMA: ClassVar[str] = "radiograph.split/1"

    discover: Annotated[float, Field(gt=0, lt=1)]
    seed: int | None
    halves: dict[str, Half]

    @property
    def sha256(self) -> str:
        """Over names and halves alone."""
        return document_sha256(self.halves)
