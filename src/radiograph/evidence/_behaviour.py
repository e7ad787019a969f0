"""What two models answered, and which tasks were lost."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from radiograph.evidence._record import Record
from radiograph.evidence._statistics import Estimate
from radiograph.evidence._suite import Bank, CheckResult, Message

Side = Literal["reference", "candidate"]
Axis = Literal["yes", "no", "unknown"]
TargetedAxis = Literal["yes", "no", "anomalous", "unknown"]


class Response(Record):
    """One model's answer to one prompt."""

    model: Side
    text: str
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    finish: Literal["stop", "length", "context"]
    checks: tuple[CheckResult, ...] = ()
    passed: bool | None = None
    """All checks passed; None when nothing could be scored."""
    refusal: bool = False


class Item(Record):
    """One prompt and both answers."""

    id: str
    bank: Bank
    task: str | None
    group: str | None
    format: str | None
    factors: dict[str, str | int | float]
    prompt_used: tuple[Message, ...]
    token_ids_sha256: str
    truncated: int = 0
    """Tokens cut from the left of the user turn."""
    responses: tuple[Response, ...]
    kl_mean: float | None
    """Mean nats per token of KL(candidate || reference) over prompt and reference answer."""
    kl_max: float | None
    same_text: bool
    flip: bool
    """Checks pass in exactly one of the two."""


class PanelRow(Record):
    """One capability task, paired on its items."""

    task: str
    n: int
    b: int
    """Reference right, candidate wrong."""
    c: int
    """The reverse."""
    both_right: int
    drop: float
    low: float
    high: float
    """Newcombe's paired 95 % interval."""
    upper: float | None
    """One-sided 95 % upper bound of the drop; None for a task of fewer than 30 items, which measures nothing."""
    p: float | None
    p_holm: float | None


class Besides(Record):
    """The panel without what a witness explains: losses where the candidate gives the answer that the witness shows."""

    witness: str
    """Name of a set of prompts."""
    bank: str | None
    """Where the set is."""
    answer: str
    """What the candidate says there."""
    explained: dict[str, int]
    """Items a task that are left out."""
    axis: Axis
    code: str | None
    reason: str
    rows: tuple[PanelRow, ...]


class Panel(Record):
    """The degraded axis."""

    axis: Axis
    code: str | None
    """`panel_too_small` or `perplexity_missing` where the axis is unknown for want of data."""
    reason: str
    rows: tuple[PanelRow, ...]
    perplexity_ratio: Estimate | None
    items_to_settle: int | None = None
    besides: tuple[Besides, ...] = ()
    """Judged again without what a witness explains, that which explains most first."""

    def beside(self, confirmed: Collection[tuple[str, str | None]]) -> Besides | None:
        """The first that rests on one of these witnesses, by name and bank. Silence explains nothing."""
        return next((b for b in self.besides if b.answer and (b.witness, b.bank) in confirmed), None)


class Behaviour(Record):
    """Both models on the suite."""

    n: int
    changed: int
    """Prompts whose greedy answers differ."""
    flips: int
    items: tuple[Item, ...]
    kl_neutral: Estimate | None
    kl_suite: Estimate | None
    truncated: int = 0
    chat: str = "template"
    """How messages became tokens: `template`, `plain`, `merge`."""
