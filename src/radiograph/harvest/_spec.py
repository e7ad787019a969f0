"""What a worker has to know to make shard n: plain data that travels to another process or machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from radiograph.core import Source
from radiograph.core.codec import Codec
from radiograph.evidence import document_sha256

Dtype = Literal["same", "fp32", "bf16", "fp16"]
FP16_LARGEST = 60_000.0
"""Above it fp16 is close to overflow, so the run stops; the type ends at 65,504."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model: who it is, and where it lies. `name` is what is stored."""

    role: str
    name: str
    sha256: str
    folder: str = ""
    adapter: str | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides the bytes of a shard, but for the models and the tokens."""

    sources: tuple[str, ...]
    dtype: Dtype = "same"
    batch_tokens: int = 8192
    shard_bytes: int = 256 * 2**20
    drop_norm: float = 0.0
    """Rows whose norm exceeds this many medians of their shard are left out; 0 keeps all."""
    pool: Literal["max", "mean", "last", "sum", "count"] | None = None
    dense: bool = True
    """Whether rows of activations are written, not records alone."""


@dataclass(frozen=True, slots=True)
class Spec:
    """A harvest. Equal specs give equal shards; `folder` and what comes after it only say where and how."""

    models: tuple[ModelSpec, ...]
    recipe: Recipe
    plan_sha256: str
    dictionary_sha256: str | None = None
    folder: Path = Path()
    device: str = "cpu"
    threads: int = 1
    open_codec: Callable[[], Codec] | None = None

    @property
    def sources(self) -> tuple[Source, ...]:
        """The sources, in the order in which they are stored."""
        return tuple(Source.parse(text) for text in self.recipe.sources)

    @property
    def sha256(self) -> str:
        """Hash of what decides the bytes."""
        return document_sha256(self.facts)

    @property
    def facts(self) -> dict[str, object]:
        """What decides the bytes, by name: what a resumed run must share."""
        from dataclasses import asdict

        return {
            "models": [{"role": m.role, "sha256": m.sha256} for m in self.models],
            "data": self.plan_sha256,
            "dictionary": self.dictionary_sha256,
            **{name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self.recipe).items()},
        }
