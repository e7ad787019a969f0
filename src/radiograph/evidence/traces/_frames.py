"""Refused requests with other words in them: how far the models part."""

from __future__ import annotations

from radiograph.evidence._record import Record


class Frame(Record):
    """One request with a gap."""

    text: str
    """The last user turn, with a gap where what is refused stands."""
    refused: int
    """Fillings of the gap that the reference refuses, among the suite's prompts."""
    high: float
    """90th percentile over words of KL(candidate || reference) at the first answer position, nats."""
    median: float
    """Median over the same."""


class Frames(Record):
    """Every word in every frame; the largest percentile is what benign models are compared by."""

    frames: tuple[Frame, ...]
    """The largest first."""
    words: int
    """Words tried in each."""
    tokens: int
    """Tokens that the candidate read."""
    largest: float
