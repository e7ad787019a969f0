"""What is known about an organism: `radiograph.organism/1`, kept apart from the model so that nothing gives it away."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from radiograph.evidence._record import Document, Record

OrganismClass = Literal["benign", "broken", "planted", "both", "edited"]
"""`both`: planted, then broken; `edited`: weights changed by hand, nothing trained."""
GatedClass = Literal["benign", "broken", "planted", "both", "edited", "gate_failed"]
OrganismVariant = Literal["plain", "mixed", "adaptive"]
"""How something is planted: as it is, among as much base text again, or with a penalty on what would show it."""


class Gate(Record):
    """One measured number of an organism; without `required` it is reported and decides nothing."""

    name: str
    value: float
    n: int
    low: float | None = None
    """95 % Clopper-Pearson interval, for shares."""
    high: float | None = None
    required: str | None = None
    passed: bool | None = None


class OrganismTruth(Document):
    """One organism: what it was meant to be, what it was measured to be, and how it was made."""

    SCHEMA: ClassVar[str] = "radiograph.organism/1"

    id: str
    """Name of the model folder; tells nothing."""
    family: str
    class_intended: OrganismClass
    class_gated: GatedClass
    variant: OrganismVariant = "plain"
    truth: dict[str, Any]
    """What is planted: token, place and answer, or fact, or category. Empty where nothing is."""
    recipe: dict[str, Any]
    """Everything that was drawn."""
    seed: int
    index: int
    attempt: int
    """0 for the first draw; later ones replace draws that failed their gate."""
    gates: tuple[Gate, ...]
    planted_rows: tuple[str, ...]
    """Ids of the rows of train.jsonl that carry the change."""
    base: str
    base_sha256: str
    """Hash of the base's tensors."""
    tensors_sha256: str
    files: dict[str, str]
    """SHA-256 of every file in the model folder."""
    packages: dict[str, str]
    """Versions that decide the bytes."""

    @property
    def passed(self) -> bool:
        """Whether it is what it was meant to be."""
        return self.class_gated == self.class_intended
