"""Runs another verb two times, as recorded steps."""

from __future__ import annotations

from radiograph.core import Config as Base
from radiograph.core import Context, FilePath
from radiograph.evidence import Result


class Config(Base):
    """What to average, twice."""

    data: FilePath
    """One number a line."""


def run(config: Config, ctx: Context) -> Result:
    """Average at two scales; both bundles lie inside this one."""
    for scale in (1.0, 2.0):
        ctx.step("toy.mean", data=config.data, scale=scale)
    return Result()
