"""A result of any size, printed on every standard output on the way."""

from __future__ import annotations

import os
from typing import ClassVar

from radiograph.core import Config as Base
from radiograph.core import Context
from radiograph.evidence import Result

BUNDLE = False


class Large(Result):
    SCHEMA: ClassVar[str] = "test.large/1"

    rows: tuple[str, ...]


class Config(Base):
    rows: int = 1


def run(config: Config, ctx: Context) -> Large:
    print("stray text on stdout")
    os.write(1, b"stray bytes on descriptor 1\n")
    return Large(rows=tuple(f'row {i} "quoted" \\ ü\n' for i in range(config.rows)))
