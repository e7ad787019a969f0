"""Is the mean of a column of numbers above a limit?

1. read one number a line   2. mean   3. compare with the limit
Refuses when: there are fewer than two numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from radiograph.core import Config as Base
from radiograph.core import Context, ExitCode, FilePath, Refusal, UserError, derive
from radiograph.evidence import Result

TOLERANCE = 1e-6


class Config(Base):
    """What to average."""

    data: FilePath
    """One number a line."""
    limit: float | None = None
    """The gate fails above it."""
    scale: float = 1.0
    """Multiplies every number."""
    mode: Literal["plain", "noisy"] = "plain"
    """`noisy` adds a number that depends on the seed."""
    tag: tuple[str, ...] = ()
    """Written into the result. Repeatable."""


class Mean(Result):
    """The answer."""

    SCHEMA: ClassVar[str] = "radiograph.toy_mean/1"

    mean: float
    n: int
    above: bool
    tag: tuple[str, ...]

    @property
    def headline(self) -> str:
        """The mean."""
        return f"mean {self.mean:g} of {self.n}"

    @property
    def exit_code(self) -> ExitCode:
        """2 above the limit."""
        return ExitCode.GATE_FAILED if self.above else ExitCode.PASS


def run(config: Config, ctx: Context) -> Mean:
    """Average."""
    path = ctx.path(config.data, "data")
    with ctx.measure("read"):
        lines = path.read_text(encoding="utf-8").split()
        try:
            values = [float(line) * config.scale for line in lines]
        except ValueError as error:
            raise UserError(f"{path.name} holds something that is no number", got=str(error)) from error
        if len(values) < 2:
            raise Refusal("too_few", "a mean needs two numbers", got=str(len(values)))
    if config.mode == "noisy":
        values.append(derive(ctx.seed, "noise") % 1000 / 1000)
    ctx.output.table("values", {"value": values})
    mean = sum(values) / len(values)
    return Mean(mean=mean, n=len(values), above=config.limit is not None and mean > config.limit, tag=config.tag)


def recompute(result: dict, folder: Path) -> list[str]:
    """The mean again, from the table."""
    import polars

    values = polars.read_parquet(folder / "tables/values.parquet")["value"].to_list()
    mean = sum(values) / len(values)
    return [] if mean == result["mean"] else [f"mean is {result['mean']}, the table gives {mean}"]
