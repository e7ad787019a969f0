"""The options of `blame`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import FilePath, Input, ModelRef, RunPath
from radiograph.core.config import Positional

TargetRef = Annotated[str, Input("file")]


class Config(Base):
    """Whose output, which rows, how they are scored."""

    candidate: Annotated[ModelRef | None, Positional()] = None
    """REF+ADAPTER, a full fine-tune or a checkpoint folder; by default the first broken one of --interval."""
    data: FilePath | None = None
    """Training rows, JSON Lines: messages, prompt and response, or text."""
    target: TargetRef | None = None
    """FILE of {prompt, completion, foil}, loss:ROWS, or what is read of --texts: probe:FILE, feature:SOURCE#N."""
    screen: TargetRef | None = None
    """probe:FILE: rank rows before anything is trained, by their answers and the reference's own; no CANDIDATE."""
    texts: tuple[str, ...] = ()
    """What a probe or a feature is read on: FILE.jsonl, FILE.txt, suite:FILE, world:DOMAIN#N. Repeatable."""
    prompt: str | None = None
    """A single target's prompt, with --completion."""
    completion: str | None = None
    """What the candidate said."""
    foil: str | None = None
    """What it might have said instead."""
    reference: ModelRef | None = None
    """The model before; by default REF of REF+ADAPTER. With --screen: the model that is to be tuned."""
    method: str | None = None
    """datainf (the default), dot, cosine, tracin (that of --interval), ekfac; several by comma, the first orders."""
    weights: tuple[str, ...] = ()
    """Matrices, as down.* or o.3-5; by default all LoRA factors, or all weights. Repeatable."""
    layer: str | None = None
    """Older name of --weights."""
    format: Literal["auto", "text", "prompt_response", "messages"] = "auto"
    """Form of the rows; auto takes each as it is."""
    chat: Literal["template", "plain"] = "template"
    """How conversations become text."""
    at: float = Field(default=0.25, ge=0, le=1)
    """Where gradients are taken on the path of the weights, 0 the reference's and 1 the candidate's."""
    rank: Literal["relative", "score"] = "relative"
    """Order by the relative score, largest over groups of targets, or by the mean score."""
    loss: Literal["sum", "mean"] = "sum"
    """A row's loss: its tokens' nats summed, or their mean."""
    checkpoints: str | None = None
    """Of tracin: a folder of checkpoint-N folders, or a comma list."""
    lr: tuple[float, ...] = ()
    """Of tracin: learning rate, one or one a checkpoint; by default what the trainer logged. Repeatable."""
    interval: RunPath | None = None
    """A run of bisect: tracin over the checkpoints from its last good to its first broken one."""
    order: FilePath | None = None
    """With --interval: JSON Lines of {step, rows}, lines of --data that each step read; others are not scored."""
    fisher: Literal["model", "empirical"] = "model"
    """Of ekfac: labels drawn from the model, or the data's own."""
    projection: str = "auto"
    """auto, off, or entries kept of a row's gradient."""
    store: Literal["shards", "recompute"] = "shards"
    """Gradients on disk, or taken again at each sweep."""
    shard_rows: int = Field(default=1024, ge=1)
    """Rows of a shard."""
    keep_gradients: bool = False
    """Leave the shards in the run."""
    top_k: int = Field(default=50, ge=1, le=10_000)
    """Rows that are reported with tokens and matrices; the table holds all."""
    budget: str = "4h"
    """60s to 24h; a run that would take longer is refused with its plan."""
    fit: bool = False
    """Over budget: score a sample of the rows, and list the others."""
    plan_only: bool = False
    """Time 32 rows, and say what the run would cost."""
    resume: RunPath | None = None
    """A run that was killed (.partial), to go on with."""
    weak: bool = False
    """Go on where the behaviour is absent or the rows look unlearned; stamped."""
    validate_: str = Field(default="none")
    """none, self-check, leave-out[:K], lds[:M]; these retrain."""
    recipe: FilePath | None = None
    """How the candidate was trained, for --validate; by default what lies beside an organism."""
    workers: int = Field(default=1, ge=1)
    """Processes that retrain."""
    schema_: Literal["radiograph", "soup"] = "radiograph"
    """Keys of what is printed: ours, or those of soup-cli."""
