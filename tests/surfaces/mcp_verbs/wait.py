"""Work for a while and tell how far it is."""

from __future__ import annotations

import time
from typing import ClassVar

from radiograph.core import Config as Base
from radiograph.core import Context
from radiograph.evidence import Result


class Waited(Result):
    SCHEMA: ClassVar[str] = "test.waited/1"

    steps: int

    @property
    def headline(self) -> str:
        return f"waited {self.steps} steps"


class Config(Base):
    steps: int = 1000


def run(config: Config, ctx: Context) -> Waited:
    ctx.output.text("begun.txt", "begun")
    with ctx.progress.task("waiting", total=config.steps) as task:
        for _ in range(config.steps):
            time.sleep(0.01)
            try:
                task.advance()
            except Exception:  # noqa: BLE001 - as a step that must not stop a run
                continue
    return Waited(steps=config.steps)
