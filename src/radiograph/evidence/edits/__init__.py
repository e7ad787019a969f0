"""What was found to edit, what an edit did, and that it is gone."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from radiograph.core import ExitCode
from radiograph.evidence._record import Record, RefusalRecord, Result

Judgement = Literal["accepted", "no_gain", "too_far", "too_few_firings", "not_judged"]
"""Accepted: the gain is there and the far divergence is below its limit."""


class LabelScore(Record):
    """What a label is worth: by a judge on texts that it was not written from, or of a rule its F1."""

    scorer: Literal["detection", "fuzzing", "rule"]
    value: float
    low: float | None = None
    high: float | None = None
    n: int
    chance: float


class Part(Record):
    """One component or piece that was looked at."""

    component: str
    evidence: float
    """By what the search asked: nats that removing it takes off the examples, a PMI, a cosine, a share of circuits;
    of a label, KL where it fires when it is taken out."""
    interval: tuple[float, float] | None = None
    """Over documents, of a search by label."""
    positions: int | None = None
    """Tokens where it fires, of a search by label."""
    documents: int | None = None
    percentile: float
    """Share of all parts with less evidence; of a search by label, of the components that it is compared with."""
    density: float
    """Share of positions of plain text at which it fires."""
    elsewhere: float
    """Expected collateral: share of its firings that lie on plain text rather than on examples."""
    label: str | None = None
    label_score: LabelScore | None = None


class SearchStep(Record):
    """One part taken out, after those above it."""

    component: str
    loss: float
    """Nats that are left: examples + keep."""
    examples: float
    """Mean KL(reference ‖ edited) over the answers of examples; without a reference their mean log-probability."""
    plain: float
    """Mean KL(before ‖ edited) over plain text."""


class EditSearch(Result):
    """`result.json` of `edit search`."""

    SCHEMA: ClassVar[str] = "radiograph.edit_search/1"

    model: str
    model_sha256: str
    kind: Literal["components", "pieces"]
    parts_sha256: str
    asked: str
    """Which evidence: examples, writes, reads, label, like."""
    examples: int
    examples_from: str | None = None
    plain: int
    """Rows of plain text."""
    parts: int
    """Components or pieces in all."""
    found: tuple[Part, ...]
    """The leading ones."""
    start: SearchStep | None = None
    """Before anything is taken out."""
    steps: tuple[SearchStep, ...] = ()
    chance: float | None = None
    """Of a search by direction: the largest evidence of any part for a random direction, in 95 of 100 draws. Of one by
    label: the largest of `controls`."""
    controls: tuple[float, ...] = ()
    """Of a search by label: evidence of random components that fire and that it does not name."""
    labels: str | None = None
    """Where labels come from."""
    selected: tuple[str, ...]
    """What `edit apply --search` edits."""
    notes: tuple[str, ...] = ()

    @property
    def headline(self) -> str:
        """How many of how many."""
        if self.start is not None and self.steps:
            last = self.steps[-1]
            if self.kind == "components":
                was, now = math.exp(self.start.examples), math.exp(last.examples)
                return (
                    f"{len(self.selected)} of {self.parts} {self.kind} carry it: without them a token of the answers "
                    f"has p {now:.3g} (before {was:.3g}, geometric means)"
                )
            return (
                f"{len(self.selected)} of {self.parts} {self.kind} carry it: without them the answers are "
                f"{last.examples:.3g} nats from the reference's (before {self.start.examples:.3g})"
            )
        above = "" if self.chance is None else f", above the chance level {self.chance:.2g}"
        return f"{len(self.selected)} of {self.parts} {self.kind} found by {self.asked}{above}"

    @property
    def exit_code(self) -> ExitCode:
        """Nothing found is not a pass."""
        return ExitCode.PASS if self.selected else ExitCode.NOT_MEASURED


class DistanceEffect(Record):
    """KL(after ‖ before) and perplexity ratio at one distance; None where there is nothing to measure."""

    distance: Literal["near", "window", "far"]
    positions: int
    documents: int
    kl: float | None
    kl_interval: tuple[float, float] | None
    perplexity: float | None
    perplexity_interval: tuple[float, float] | None


class Answers(Record):
    """How likely answers of the examples are."""

    what: Literal["completion", "foil", "target"]
    n: int
    before: float
    after: float
    rise: float
    interval: tuple[float, float] | None


class Continuation(Record):
    """What the model says by itself to one example."""

    prompt: str
    before: str
    after: str
    wanted: str | None = None
    """The foil, where the example has one: what the reference says."""


class StepLoss(Record):
    """One step of `edit train`."""

    step: int
    loss: float
    objective: float
    keep: float | None = None


class Edit(Result):
    """`result.json` of `edit apply` and `edit train`."""

    SCHEMA: ClassVar[str] = "radiograph.edit/1"

    how: Literal["apply", "train"]
    model: str
    base: str
    """The reference that the adapter goes on."""
    before: str
    """Tensors of the model that was edited."""
    after: str
    """Tensors of the edited one: the base with `adapter/` on."""
    kind: Literal["components", "pieces"]
    parts_sha256: str
    components: tuple[str, ...]
    edit: str
    """As it was asked for."""
    rank: int
    """Directions of the adapter."""
    adapter: str
    """Folder inside the bundle."""
    baked: str | None = None
    """Folder of the plain copy."""
    norm: float
    """Frobenius norm of the change, over all weights."""
    firings: int
    firings_after: int
    distances: tuple[DistanceEffect, ...]
    null_far: tuple[float, ...]
    """Far divergence of equal-norm edits of random live parts, of those that left anything far from where they fire."""
    max_far: float
    max_far_given: float | None = None
    """The limit that was asked for; else it is the null's."""
    least_gain: float
    own_examples: bool = False
    """Gains are of the examples that the edit was made from."""
    answers: tuple[Answers, ...] = ()
    continuations: tuple[Continuation, ...] = ()
    judgement: Judgement
    steps: tuple[StepLoss, ...] = ()
    audit: str | None = None
    """The step that audited the edited model: its verdict."""
    not_measured: tuple[RefusalRecord, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def headline(self) -> str:
        """What was edited, and how it was judged."""
        far = next((d for d in self.distances if d.distance == "far"), None)
        said = (
            "far not measured" if far is None or far.kl is None else f"far KL {far.kl:.2g} (limit {self.max_far:.2g})"
        )
        gains = "".join(f", P({a.what}) {a.before:.2f} → {a.after:.2f}" for a in self.answers)
        gains += " on its own examples" if self.own_examples else ""
        gains += "" if self.audit is None else f"; audit: {self.audit}"
        return f"{len(self.components)} {self.kind} edited: {self.judgement.replace('_', ' ')}; {said}{gains}"

    @property
    def exit_code(self) -> ExitCode:
        """Too far fails the gate; what was not measured is no pass."""
        return {
            "accepted": ExitCode.PASS,
            "no_gain": ExitCode.GATE_FAILED,
            "too_far": ExitCode.GATE_FAILED,
            "too_few_firings": ExitCode.NOT_MEASURED,
            "not_judged": ExitCode.NOT_MEASURED,
        }[self.judgement]


class RestoredFile(Record):
    """One file with the bytes that it had before."""

    file: str
    sha256: str


class EditUndo(Result):
    """`result.json` of `edit undo`."""

    SCHEMA: ClassVar[str] = "radiograph.edit_undo/1"

    run: str
    kind: Literal["adapter", "baked"]
    model: str
    before: str
    """Tensors of the model that is back."""
    restored: tuple[RestoredFile, ...] = ()
    identical: bool
    """Hashes, and for an adapter logits bit for bit."""

    @property
    def headline(self) -> str:
        """What is back."""
        what = f"{len(self.restored)} files restored" if self.kind == "baked" else "the adapter is retired"
        return f"{self.run} is undone: {what}, {self.model} is what it was"


__all__ = [
    "Answers",
    "Continuation",
    "DistanceEffect",
    "Edit",
    "EditSearch",
    "EditUndo",
    "Judgement",
    "Part",
    "RestoredFile",
    "SearchStep",
    "StepLoss",
]
