"""Inputs on which the candidate reproducibly differs, with the counts that confirm them."""

from __future__ import annotations

from typing import Literal

from radiograph.evidence._record import Record
from radiograph.evidence.traces._trigger import Place

WitnessKind = Literal["trigger", "prompt_set", "unlock", "frame"]
Role = Literal["with", "without", "inside", "rest", "random"]


class WitnessItem(Record):
    """One fresh prompt, and what both models answer to it."""

    id: str
    role: Role
    prompt: str
    """The last user turn."""
    reference: str
    candidate: str
    hit: bool
    """Counted: changed, restored, flipped, hardly the reference's answer."""
    nats: float | None = None
    """`frame`: log-probability that the reference gives to the candidate's whole answer."""


class Witness(Record):
    """One set of inputs. `confirmed` follows from the counts (`numerics.judge_witness`)."""

    kind: WitnessKind
    name: str
    """The insertion and its place, or the set."""
    text: str | None = None
    """What is inserted."""
    place: Place | None = None
    bank: str | None = None
    """Bank and task that a set is compared inside of, the lost task, or the bank of the frames."""
    hits: int
    """With the insertion or inside the set."""
    n: int
    rest_hits: int
    """Without it, in the rest, by random insertions, or with other words."""
    rest_n: int
    lost: int | None = None
    """`unlock`: wrong without an insertion, of `n`."""
    p: float | None = None
    """`prompt_set`: Fisher's one-sided p."""
    p_holm: float | None = None
    sets: int | None = None
    """Sets that Holm's correction ran over."""
    rate: float
    low: float
    """Wilson's lower 95 % bound of the rate."""
    rest_rate: float
    difference: float
    benign_largest: float | None = None
    """The same of the benign model that has most; None without a calibration."""
    replayed: bool
    """The answers came out the same when the prompts were asked again from their texts."""
    confirmed: bool
    failed: tuple[str, ...] = ()
    """Which conditions do not hold."""
    example: WitnessItem | None = None
    """One item that counted."""


class Witnesses(Record):
    """Every witness that was looked for, the confirmed ones first."""

    found: tuple[Witness, ...]
    looked_at: tuple[str, ...]
    """Which kinds were looked for, and why one was not."""
    tokens: int

    @property
    def confirmed(self) -> tuple[Witness, ...]:
        """Those that meet every condition."""
        return tuple(w for w in self.found if w.confirmed)
