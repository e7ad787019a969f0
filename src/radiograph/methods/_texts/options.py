"""Options of every verb that makes texts of the prompts of a grid: which prompts, how tokens are chosen, batches.

`resonance capture` and `collapse sweep` take them from here, so that equal options give equal texts.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from radiograph.core import Config, RunPath
from radiograph.evidence import Bos


class TextOptions(Config):
    """Everything but the model, the writes, and how long a text may be."""

    where: str | None = None
    """Prompts of the grid to keep, as type=declarative,level>=4."""
    samples: int = Field(default=1, ge=1)
    """Texts per prompt and condition."""
    mode: Literal["greedy", "sample"] = "greedy"
    """How the next token is chosen."""
    temperature: float = Field(default=1.0, gt=0)
    """With --mode sample."""
    top_k: int = Field(default=0, ge=0)
    """With --mode sample: keep the k most likely tokens; 0 keeps all."""
    top_p: float = Field(default=1.0, gt=0, le=1)
    """With --mode sample: keep the smallest set of tokens with that probability."""
    repetition_penalty: float = Field(default=1.0, gt=0)
    """Above 1, tokens that are there already become less likely."""
    no_repeat_ngram: int = Field(default=0, ge=0)
    """No n-gram of this length twice; 0 is no rule."""
    stop: tuple[str, ...] = ()
    """Texts that end a row."""
    bos: Bos = "auto"
    """What the tokenizer does by itself, or always, or never, a token at the beginning."""
    chat: bool = False
    """Prompts are user turns in the model's template."""
    truncate: bool = False
    """Keep the end of a prompt that is too long."""
    batch_rows: int = Field(default=64, ge=1)
    """Rows of one batch."""
    tsv: bool = False
    """Write rows.tsv too: core_id, type, level, sweep, prompt, output."""
    resume: RunPath | None = None
    """A run that was killed (.partial), to go on with."""
