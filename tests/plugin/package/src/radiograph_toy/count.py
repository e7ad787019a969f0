"""How many numbers are there?"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from radiograph.core import Config as Base
from radiograph.core import Context, FilePath, Refusal
from radiograph.evidence import Result

ALIASES = ("toy tally", "totals lines")
LIMITS = ("rows",)


class Config(Base):
    """What to count."""

    data: FilePath
    """One number a line."""
    schema_: Literal["radiograph", "soup"] = "radiograph"
    """Whose keys the JSON has."""


class Count(Result):
    """The answer."""

    SCHEMA: ClassVar[str] = "radiograph.toy_count/1"

    n: int


def run(config: Config, ctx: Context) -> Count:
    """Count."""
    with ctx.opened(config.data, "data") as file:
        lines = file.read().split()
    ctx.limits.check("rows", len(lines), "lines", file.name)
    if not lines:
        raise Refusal("too_few", "nothing to count")
    return Count(n=len(lines))


def soup(result: Count) -> dict[str, Any]:
    """Other words; they have none for an odd number."""
    if result.n % 2:
        raise Refusal("odd", "an odd number cannot be said")
    return {"num_lines": result.n, "kind": "count"}
