"""What is fixed before the score of a planted model exists."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from radiograph.evidence._record import Document, document_sha256

Tier = Literal["smoke", "ci", "release"]


class Protocol(Document):
    """`radiograph.protocol/1`: everything that decides a score, a p-value or a verdict. Its hash binds the scores."""

    SCHEMA: ClassVar[str] = "radiograph.protocol/1"

    name: str
    tier: Tier
    reference: str
    """The model that all organisms are tuned from."""
    suite: str
    dictionary: str
    """`none`, or as `audit` takes it."""
    effort: Literal["none", "quick", "standard", "full"]
    infix: bool
    score_method: Literal["abs_diff_topk", "abs_diff_topk_drift_corrected", "neutral_drift", "leave_group_out"]
    k: int = Field(ge=1)
    aggregate: Literal["mean", "max"]
    reduce: Literal["skip_first", "content"]
    chat: Literal["template", "plain"]
    system: Literal["separate", "merge"]
    detectors: dict[str, int]
    """Version of every detector."""
    rules: dict[str, int]
    """Version of each rule that makes a verdict of what detectors say."""
    frozen: tuple[str, ...] = ()
    """Detectors that decide; empty: those that the calibration froze."""
    combination: Literal["max", "fisher"]
    sites: tuple[str, ...]
    """Where activations are read, the dictionary's site included."""
    alpha: float = Field(gt=0, le=0.5)
    """At which verdicts are given."""
    rates: tuple[float, ...]
    """False positive rates at which detection is reported."""
    folds: Literal["family"] = "family"
    """A benign test model is judged a second time without its family in the calibration."""
    baselines: tuple[str, ...]
    """Scores to beat."""
    resamples: int = Field(ge=1)
    resplits: int = Field(ge=1)
    seed: int

    @property
    def neutral(self) -> None:
        """Neutral texts are the suite's, or the reference's own."""

    @property
    def train_data(self) -> None:
        """Detectors of training rows take no part."""

    @property
    def sha256(self) -> str:
        """Of the canonical document."""
        return document_sha256(self)
