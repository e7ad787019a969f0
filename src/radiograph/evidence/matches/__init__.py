"""Which feature of one model is which of another: `radiograph.matches/1`."""

from __future__ import annotations

from typing import ClassVar, Final, Literal

from pydantic import Field

from radiograph.core import ExitCode
from radiograph.evidence._record import Record, RefusalRecord, Result

MatchKind = Literal["correlational", "structural"]
AlignedBy = Literal["prompts", "tokens", "words"]
Agreement = Literal["agrees", "same_sign", "disagrees", "untested"]
TransferWord = Literal["transfers", "partial", "fails", "not_measured"]
COMPONENTS: Final = ("activation", "decoder", "logits", "text", "firing")
"""What two features can share; each stands by itself and none is mixed into another."""
LISTED: Final = 1000
"""Most matches that a result lists; the table holds all."""
CHANCE_REACHES: Final = 0.9
"""A null whose 95th percentile is above this leaves no room for a match: without one, nothing was measured."""


class MatchSide(Record):
    """What stands on one side."""

    ref: str
    model: str
    sha256: str
    """Of the file, or of the header of the records, which names the hash of every part."""
    model_sha256: str | None = None
    tokenizer_sha256: str | None = None
    features: int
    compared: int = 0
    """Active on enough shared units."""
    absent: str | None = None
    """What a missing entry means; None where there are no activations."""


class MatchAligned(Record):
    """What both sides share."""

    by: AlignedBy
    prompts: int
    groups: int
    units: int


class MatchNull(Record):
    """Best matches when groups of units change places."""

    draws: int
    q95: float


class MatchLine(Record):
    """One component of a pair."""

    value: float | None
    """None: the two cannot be compared in this."""
    percentile: float | None = None
    """Share of pairs of random features below it, 0 to 1."""


class TransferRecord(Record):
    """Whether what one feature does carries over to its match."""

    kind: Literal["readout", "steering"]
    verdict: TransferWord
    effect: float | None = None
    """Readout: AUROC − ½ on the right. Steering: change of the outcome on the right."""
    interval: tuple[float, float] | None = None
    own: float | None = None
    """Readout: the same on the left. Steering: what the right feature's own push does."""
    own_interval: tuple[float, float] | None = None
    p: float | None = None
    """Against random features or directions."""
    q: float | None = None
    """Readout: adjusted over the matches that were tried."""
    controls: int = 0
    explained: float | None = None
    """Steering: share of the variance of held-out right rows that the map explains; may be below 0."""
    shuffled: float | None = None
    """Steering: what a map fitted on shuffled rows does."""
    acceptable: bool | None = None
    """Steering: whether a dose of the mapped direction stays within the limits of side effects."""
    reason: str | None = None


class MatchPair(Record):
    """Two features."""

    left: str
    right: str
    left_label: str | None = None
    right_label: str | None = None
    score: float
    """Similarity of activations; of structural pairs the component that found them."""
    interval: tuple[float, float] | None = None
    p: float | None = None
    q: float | None = None
    mutual: bool
    margin: float | None = None
    """Over the best rival, which shares one of the two features."""
    ambiguous: bool = False
    """The margin may be 0."""
    components: dict[str, MatchLine] = Field(default_factory=dict)
    causal: Agreement = "untested"
    transfer: tuple[TransferRecord, ...] = ()


class Matches(Result):
    """Two sides compared."""

    SCHEMA: ClassVar[str] = "radiograph.matches/1"

    kind: MatchKind
    left: MatchSide
    right: MatchSide
    similarity: str
    """Of activations, or the component that structural pairs were found by."""
    level: float
    aligned: MatchAligned | None = None
    null: MatchNull | None = None
    excluded: dict[str, tuple[int, int]] = Field(default_factory=dict)
    """Features left out on either side, by reason."""
    found: int
    """Matches; of structural pairs the mutual ones."""
    ambiguous: int = 0
    matches: tuple[MatchPair, ...]
    assigned_only: int = 0
    """Pairs of the pairing one to one that are no match."""
    left_only: int
    right_only: int
    shown: int
    """Matches that a page shows."""
    scores: tuple[tuple[float, float, int, int], ...] = ()
    """Of a histogram of best scores: from, to, matches, others."""
    not_measured: tuple[RefusalRecord, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def powered(self) -> bool:
        """Whether a good match could have been told from chance."""
        return self.null is None or self.null.q95 <= CHANCE_REACHES

    @property
    def headline(self) -> str:
        """How many, of how many, at which level."""
        of = f"of {self.left.compared:,} left and {self.right.compared:,} right features"
        if self.kind == "structural":
            return f"{self.found:,} mutual pairs {of} by {self.similarity}: structural, without a null"
        if not self.found:
            why = "" if self.powered else ": chance alone reaches such similarity on so few units, so nothing is said"
            return f"no match {of}{why}"
        unsure = f", {self.ambiguous:,} of them ambiguous" if self.ambiguous else ""
        noun = "match" if self.found == 1 else "matches"
        return f"{self.found:,} {noun} {of} (q ≤ {self.level:g}, mutual){unsure}"

    @property
    def lines(self) -> tuple[str, ...]:
        """What a reader should know."""
        return self.notes

    @property
    def exit_code(self) -> ExitCode:
        """Not measured where nothing was found and nothing could have been."""
        return ExitCode.PASS if self.found or self.powered else ExitCode.NOT_MEASURED


__all__ = [
    "CHANCE_REACHES",
    "COMPONENTS",
    "LISTED",
    "Agreement",
    "AlignedBy",
    "MatchAligned",
    "MatchKind",
    "MatchLine",
    "MatchNull",
    "MatchPair",
    "MatchSide",
    "Matches",
    "TransferRecord",
    "TransferWord",
]
