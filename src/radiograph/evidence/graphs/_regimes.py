"""`radiograph.regimes/1`: what a selection of nodes is worth under four regimes, and the word that follows.

    suffices                   label kept under importance, stochastic (mean) and adversarial masks: those that were
                               found to raise the loss, and those that were found to lower the label
    suffices without adversary kept under the first two alone
    does not suffice           not even those
`contributes`: the full model without the listed nodes loses the label. Nothing here says that a node is necessary.
"""

from __future__ import annotations

from typing import ClassVar, Final, Literal, get_args

from pydantic import Field

from radiograph.core import ExitCode
from radiograph.evidence._record import Record, RefusalRecord, Result
from radiograph.evidence.graphs._graph import LossRecord

Grade = Literal["suffices", "suffices without adversary", "does not suffice"]
GRADES: Final = get_args(Grade)


class TokenRow(Record):
    """A token that a regime puts among its first at a position."""

    position: int
    rank: int
    token: int
    text: str
    p: float
    logit: float
    target_p: float
    target_logit: float


class LabelRow(Record):
    """The label, whether or not it is among the first."""

    token: int
    text: str
    position: int
    p: float
    logit: float
    rank: int
    target_p: float
    target_logit: float
    target_rank: int


class RegimeRecord(Record):
    """One regime."""

    p: float
    loss: float
    nodes: int | None = None
    """Of `ablated`: how many were taken out."""
    label: LabelRow
    top: tuple[TokenRow, ...] = ()


class StochasticRecord(RegimeRecord):
    """Means over draws; the worst beside them."""

    draws: int
    worst_p: float
    worst_loss: float


class AdversarialRecord(RegimeRecord):
    """The worst masks that were found."""

    best_random: float
    """Largest loss of random masks."""
    mean_random: float
    freedom: int
    """Masks that could move."""
    no_freedom: bool
    steps: str
    starts: int
    label_p: float | None = None
    """Lowest probability of the label under any masks that were found: of the attack on the loss, and where the loss is
    not the label's own, of an attack on the label; None where that is `p`."""

    @property
    def lowest(self) -> float:
        """What the grade is of."""
        return self.p if self.label_p is None else self.label_p


class ControlsRecord(Record):
    """Random alive sets with as many nodes at each weight and position."""

    sets: int
    p: tuple[float, ...]
    """Label probability of each, under `importance`."""
    rank: int
    """Of the selection among all, 1 the best."""
    p_value: float
    """(1 + #{controls at least as good})/(1 + sets)."""


class Regimes(Result):
    """What a selection is worth."""

    SCHEMA: ClassVar[str] = "radiograph.regimes/1"

    model: str
    decomposition: str
    prompt: str
    prompt_tokens: tuple[str, ...]
    graph: str | None = None
    """sha256 of the graph that was selected from; None where the prompt was given."""
    graph_kind: str | None = None
    selected: int
    alive: int
    loss: LossRecord
    delta: Literal["off", "random", "attacked"] = "off"
    keep: float
    max_loss: float | None = None
    """Instead of `keep`: the most by which the loss may exceed the target's."""
    target_p: float
    target_loss: float
    importance: RegimeRecord
    stochastic: StochasticRecord
    adversarial: AdversarialRecord
    ablated: RegimeRecord | None = None
    controls: ControlsRecord | None = None
    grade: Grade
    contributes: bool | None = None
    """The label falls below its share without the ablated nodes; None where nothing was ablated."""
    non_adversarial: bool = False
    """The graph was searched without an adversary."""
    required: Grade | None = None
    not_measured: tuple[RefusalRecord, ...] = Field(default=())

    @property
    def headline(self) -> str:
        """The grade, and the three numbers behind it."""
        text = (
            f"{self.selected} of {self.alive} alive nodes: {self.grade} "
            f"(label p {self.target_p:.3f} in the target, {self.importance.p:.3f} alone, {self.stochastic.p:.3f} with "
            f"the rest random, {self.adversarial.lowest:.3f} with the rest attacked)"
        )
        if self.adversarial.no_freedom:
            text += "; nothing was left to attack"
        if self.ablated is not None:
            word = "contribute" if self.contributes else "no loss shown"
            text += f"; {self.ablated.nodes} ablated: {word} (p {self.ablated.p:.3f})"
        return text + (" [non_adversarial]" if self.non_adversarial else "")

    @property
    def exit_code(self) -> ExitCode:
        """2 where more was required than was found."""
        if self.required is not None and GRADES.index(self.grade) > GRADES.index(self.required):
            return ExitCode.GATE_FAILED
        return ExitCode.PASS


def grade(*, alone: bool, random: bool, attacked: bool) -> Grade:
    """The word that follows from which regimes keep the label."""
    if not (alone and random):
        return "does not suffice"
    return "suffices" if attacked else "suffices without adversary"
