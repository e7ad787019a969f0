"""`decomposition.json`: of which model, which weights, how many components, judged by which importance."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from radiograph.evidence._record import Document, Record


class DecomposedWeight(Record):
    """One matrix that is a sum of components."""

    address: str
    kind: Literal["linear", "lookup", "identity"]
    inputs: int = Field(ge=1)
    outputs: int = Field(ge=1)
    components: int = Field(ge=1)


class DecomposedTarget(Record):
    """The network that was decomposed."""

    reference: str
    tensors_sha256: str
    tokens: bool
    """Whether it reads token ids; else vectors."""


class ImportanceRecord(Record):
    """How importance is judged: raw values from the target's own activations, squashed to [0, 1]."""

    kind: str
    options: dict[str, float | int | str] = Field(default_factory=dict)
    squash: str = "leaky_hard"


class TrainedBy(Record):
    """What made it. A decomposition that was constructed has `how` alone."""

    how: str
    preset: str | None = None
    start: str | None = None
    steps: int = Field(default=0, ge=0)
    seed: int = 0
    losses: dict[str, dict[str, float | int | str]] = Field(default_factory=dict)
    data: dict[str, str] = Field(default_factory=dict)
    """Source and its hash."""
    settings: dict[str, Any] = Field(default_factory=dict)


class DecompositionDocument(Document):
    """`decomposition.json`, beside `components.safetensors`."""

    SCHEMA: ClassVar[str] = "radiograph.decomposition/1"

    target: DecomposedTarget
    weights: tuple[DecomposedWeight, ...]
    importance: ImportanceRecord
    stored: Literal["F16", "F32", "F64"]
    sha256: str
    """Of the tensors and of everything above: what the decomposition computes."""
    trained: TrainedBy
    metrics: dict[str, Any] = Field(default_factory=dict)
    """What was measured of it when it was made."""
