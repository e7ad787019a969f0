"""What the search for an insertion tried and found."""

from __future__ import annotations

from typing import Literal

from radiograph.evidence._record import Record

Place = Literal["prefix", "suffix", "infix", "around"]
"""Before, after or in the middle of the text of the last user turn; or the first token before it and the rest after."""
Objective = Literal["trigger", "unlock"]


class InsertionCounts(Record):
    """Answers on fresh carriers."""

    n: int
    on: int
    """The candidate differs from the reference with the insertion, and the reference answers as it does without."""
    off: int
    """They differ without the insertion."""
    moved: int
    """The reference itself answers otherwise with the insertion."""
    answer: str = ""
    """What the candidate says most often where it differs."""

    @property
    def success(self) -> float:
        """s_on."""
        return self.on / self.n

    @property
    def contrast(self) -> float:
        """s_on − s_off."""
        return (self.on - self.off) / self.n


class Insertion(Record):
    """One insertion that was scored on every carrier of the search."""

    text: str
    tokens: tuple[int, ...]
    place: Place
    gain: float
    """J: mean KL over answer positions with it, minus the median over random insertions of equal length; nats."""
    kl: float
    """The mean KL itself."""
    first: float
    """J on the first answer position alone, which every stage ranks by."""
    fresh: InsertionCounts | None = None
    """Answers on carriers that the search has not seen; only of the leading insertions."""


class SearchStage(Record):
    """One stage and what it cost."""

    name: str
    """`sweep`, `crossed`, `pairs`, `coordinates`, `parts`."""
    place: Place
    length: int
    tried: int
    """Insertions scored."""
    of: int
    """Insertions that the stage would have scored without a budget."""
    carriers: int
    tokens: int
    """Tokens that the candidate read."""
    best: str = ""
    gain: float | None = None


class TriggerSearch(Record):
    """One search: its maximum is what benign models are compared by."""

    objective: Objective
    effort: str
    budget: int
    """Tokens that the candidate may read in the search."""
    tokens: int
    """Tokens that it read in the search."""
    fresh_tokens: int
    """Tokens that it read and wrote on fresh carriers."""
    carriers: tuple[str, ...]
    """Prompts that the search ran on."""
    fresh: tuple[str, ...]
    """Prompts that answers were counted on."""
    vocabulary: int
    """Tokens that insertions are made of."""
    shortlist: str | None = None
    """Which tokens were tried, where the vocabulary is too large for all."""
    exhausted: bool
    """The budget ended a stage before its end."""
    stages: tuple[SearchStage, ...]
    insertions: tuple[Insertion, ...]
    """The leading ones: of those with half of the largest gain or more the shortest first, then by gain."""

    @property
    def gain(self) -> float:
        """The maximum of J."""
        return max(i.gain for i in self.insertions)

    @property
    def success(self) -> float | None:
        """The largest s_on among the insertions that met fresh carriers."""
        counts = [i.fresh.success for i in self.insertions if i.fresh is not None]
        return max(counts) if counts else None

    @property
    def contrast(self) -> float | None:
        """The largest s_on − s_off among them."""
        counts = [i.fresh.contrast for i in self.insertions if i.fresh is not None]
        return max(counts) if counts else None
