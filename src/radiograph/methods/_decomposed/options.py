"""Options of every verb that reads texts with a decomposition, shard by shard.

`decompose harvest` and `decompose attribute` take them from here, so that equal options read equal texts.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from radiograph.core import Config, DecompositionRef, FilePath, ModelRef, RunPath
from radiograph.core.config import Positional
from radiograph.core.sizes import Count


class ReadingOptions(Config):
    """Everything but how long a shard is."""

    decomposition: DecompositionRef
    """A run of `decompose train`, a folder, or decomposition:bundled."""
    model: Annotated[ModelRef | None, Positional()] = None
    """The model that was decomposed; by default the one that the decomposition names."""
    data: tuple[FilePath, ...] = ()
    """FILE.jsonl[.gz], FILE.parquet, FILE.txt, suite:FILE, world:DOMAIN[:SPLIT]#N, hf:NAME[:CONFIG]@REVISION#SPLIT."""
    tokens: Count | None = None
    """Most tokens counted; whole documents, drawn by hash."""
    max_length: int = Field(default=512, ge=2, le=65_535)
    """Most tokens of a window."""
    batch_tokens: Count = 2048
    """Padded tokens of one forward."""
    workers: str = "1"
    """1, N processes here, or ray[:N]."""
    resume: RunPath | None = None
    """A run that was killed (.partial), to go on with."""
