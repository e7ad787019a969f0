"""The options of `bisect`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import FolderPath, RunPath
from radiograph.core.config import Positional


class Config(Base):
    """Which checkpoints, how one is evaluated, and when it is broken."""

    checkpoint: Annotated[tuple[FolderPath, ...], Positional()] = ()
    """Checkpoints, oldest first: files or folders."""
    folder: FolderPath | None = None
    """A folder whose entries are the checkpoints, in the order of the numbers in their names."""
    pattern: str = "checkpoint-*"
    """Which entries of the folder."""
    eval_: str | None = None
    """The program, split as a shell would and run without one; {ckpt} stands for the checkpoint."""
    verb: str | None = None
    """A radiograph verb with its options instead: exit 0 good, 2 broken, 4 skip, else an error."""
    metric: str | None = None
    """Dotted key of a number in the last JSON line on stdout; then any exit but 0 and 125 is an error."""
    broken_if: str | None = None
    """With --metric: which numbers are broken, as >0.05."""
    broken_exit: str = "1"
    """Exit codes that say broken, with commas."""
    timeout: str = "1h"
    """Seconds, minutes or hours that one run may take, as 90s, 30m, 1h."""
    repeats: int = Field(default=1, ge=1, le=1000)
    """Runs of one checkpoint at most."""
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    """Of the interval that decides repeats."""
    check: int = Field(default=2, ge=0, le=4096)
    """Untested checkpoints a side that are looked at after the search, besides both neighbours; 0: none."""
    scan: bool = False
    """Look at every checkpoint."""
    resume: RunPath | None = None
    """An earlier run, finished or .partial: what it ran is not run again."""
    plan_only: bool = False
    """Say what would be run, and run nothing."""
    schema_: Literal["radiograph", "soup"] = "radiograph"
    """Keys of the JSON; soup: those of soup-cli."""
