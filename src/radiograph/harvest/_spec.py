"""What a worker has to know to make shard n: plain data that travels to another process or machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from radiograph.core import UserError
from radiograph.core.codec import Codec
from radiograph.evidence import document_sha256
from radiograph.harvest._plan import Limits
from radiograph.harvest._tokens import Reading

if TYPE_CHECKING:
    from radiograph.models import LanguageModel

Dtype = Literal["same", "fp32", "bf16", "fp16"]
FP16_LARGEST = 60_000.0
"""Above it fp16 is close to overflow, so the run stops; the type ends at 65,504."""


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model: who it is, and where it lies."""

    role: str
    sha256: str
    folder: str = ""
    """Empty for a model in memory, which only this process has."""
    adapter: str | None = None

    @classmethod
    def of(cls, role: str, model: LanguageModel, *, shared: bool) -> ModelSpec:
        """A model that is in memory here; `shared`: other processes load it as well.

        Raises:
            UserError: they cannot.
        """
        if shared and model.folder is None:
            raise UserError(f"the {role} is in memory alone", fix="save it to a folder, or use one worker")
        return cls(
            role=role,
            sha256=model.identity.tensors_sha256,
            folder=str(model.folder.resolve()) if model.folder else "",
            adapter=str(model.adapter_folder.resolve()) if model.adapter_on and model.adapter_folder else None,
        )


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
    keep: int | None = None
    """Entries of records kept of each row, the largest in size; None keeps all."""


@dataclass(frozen=True, slots=True)
class Spec:
    """A harvest. What decides a byte is `facts`; the other fields only say where and how."""

    models: tuple[ModelSpec, ...]
    recipe: Recipe
    reading: Reading
    limits: Limits
    plan_sha256: str
    """Of the tokens, and of the rows kept of them."""
    dictionary_sha256: str | None = None
    shards: Path | None = None
    """Folder of the shards; None: records alone are written."""
    records: Path | None = None
    """Folder of the records; None: none are written."""
    device: str = "cpu"
    threads: int = 1
    open_codec: Callable[[], Codec] | None = None

    @property
    def home(self) -> Path:
        """Where the plan lies while the harvest runs."""
        home = self.shards or self.records
        assert home is not None, "a harvest writes something"
        return home

    @property
    def facts(self) -> dict[str, Any]:
        """What decides the bytes, by name: what a resumed run must share."""
        options = {**asdict(self.recipe), **asdict(self.reading), **asdict(self.limits)}
        return {
            "models": {m.role: m.sha256 for m in self.models},
            **{name: list(value) if isinstance(value, tuple) else value for name, value in options.items()},
            "dictionary": self.dictionary_sha256,
            "data": self.plan_sha256,
        }

    @property
    def sha256(self) -> str:
        """Hash of what decides the bytes."""
        return document_sha256(self.facts)


def check_same(stored: dict[str, Any], now: dict[str, Any], where: str) -> None:
    """Refuse to go on with another harvest.

    Raises:
        UserError: names the first fact that differs.
    """
    for name in {**stored, **now}:
        if stored.get(name) != now.get(name):
            raise UserError(
                f"the unfinished run was another harvest: {name} differs",
                expected=str(stored.get(name)),
                got=str(now.get(name)),
                where=where,
                fix="resume with the model, data and options of that run, or start without --resume",
                code="another_harvest",
            )
