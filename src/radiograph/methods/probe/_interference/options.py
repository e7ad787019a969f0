"""What `probe interference` is asked: losses from a file, or a base, adapters and their data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import DictionaryRef, FilePath, ModelRef, RunPath
from radiograph.core.config import Positional


class Config(Base):
    """Losses from a file, or a base, adapters and their data."""

    losses: Annotated[FilePath | None, Positional()] = None
    """A JSON file of losses; without one they are measured."""
    base: ModelRef | None = None
    """The model that the adapters were trained on."""
    adapter: tuple[FilePath, ...] = ()
    """NAME=PATH of an adapter; two or more."""
    eval_: tuple[FilePath, ...] = ()
    """NAME=FILE: rows of an adapter's own task, as of blame --data; a key group unites rows."""
    combine: Literal["joint", "linear", "svd", "ties", "dare_ties"] = "joint"
    """How two are put together: both on, or merged into one."""
    density: float = Field(default=0.5, gt=0, le=1)
    """Share of entries that ties and dare_ties keep."""
    repeats: int = Field(default=5, ge=1, le=100)
    """Seeds of dare_ties."""
    chat: Literal["template", "plain"] = "template"
    """How conversations are written, as of blame."""
    site: str | None = None
    """Where shifts of activations are compared; by default after the last block."""
    shift_rows: int = Field(default=8, ge=0)
    """Rows of each target for that; 0 leaves it out."""
    dictionary: DictionaryRef | None = None
    """Count which of its features both adapters move on the target's data."""
    known: RunPath | None = None
    """An earlier run: evaluations of the same weights on the same rows are taken from it."""
    allow_missing: bool = False
    """Exit 0 although pairs are missing or inconclusive; they are still shown."""
    schema_: Literal["radiograph", "soup"] = "radiograph"
    """Keys of the JSON; soup: those of soup-cli."""
