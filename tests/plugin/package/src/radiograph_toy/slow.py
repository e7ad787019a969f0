"""Writes many small files, one after the other: something to interrupt."""

from __future__ import annotations

import time

from radiograph.core import Config as Base
from radiograph.core import Context
from radiograph.evidence import Result


class Config(Base):
    """How long."""

    files: int = 30
    """Files to write."""
    pause: float = 0.01
    """Seconds before each."""


def run(config: Config, ctx: Context) -> Result:
    """Write."""
    with ctx.progress.task("writing", config.files) as task:
        for number in range(config.files):
            time.sleep(config.pause)
            with ctx.measure(f"file {number}"):
                ctx.output.json(f"parts/{number}.json", {"number": number, "square": number**2})
            task.advance()
    return Result()
