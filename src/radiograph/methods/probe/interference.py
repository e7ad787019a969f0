"""Do adapters break each other: what adding one does to the loss on the other's data.

1. score(A <- B) = (loss of A's data with A and B - with A alone)/loss with A alone. Signed: an improvement is no harm
2. losses: from a file, or measured now. Measured: the base is loaded once, every adapter sits in it; each pair is made
   into one once (`joint`: both on, weights 1 and 1; or merged) and evaluated on both targets' data
3. intervals: groups of rows are drawn again, the same rows under both conditions; from a file, by means, sd and n
4. bands: below 5 % OK, below 20 % MINOR, from 20 % MAJOR; -5 % or less with the interval below 0 HELPS; an interval
   around 20 % INCONCLUSIVE; no loss, NOT-MEASURED. An adapter not better than the base on its own data is inert: its
   row is NOT-MEASURED
5. beside it, never instead: what the changes have in common in weights, signs and activations
Units: shares of the loss alone; losses in nats a token. Exit 2 on any MAJOR, else 4 where a pair is missing or
inconclusive (--allow-missing: 0). Refuses when: names or losses are none, adapters are of other bases (exit 3);
adapters that cannot be put together (exit 4).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import Context, FilePath, ModelRef, RunPath
from radiograph.core.config import Positional

if TYPE_CHECKING:
    from radiograph.evidence.probes.interference import Interference

LIMITS = ("losses-bytes", "adapters", "name-characters", "rows")
TOLERANCE = 1e-6


class Config(Base):
    """Losses from a file, or a base, adapters and their data."""

    losses: Annotated[FilePath | None, Positional()] = None
    """A JSON file of losses; without one they are measured."""
    base: ModelRef | None = None
    """The model that the adapters were trained on."""
    adapter: tuple[FilePath, ...] = ()
    """NAME=PATH of an adapter; two or more."""
    eval_: tuple[FilePath, ...] = ()
    """NAME=FILE: rows of an adapter's own task, as of blame --data; a key group unites rows."""
    combine: Literal["joint", "linear", "svd", "ties", "dare_ties"] = "joint"
    """How two are put together: both on, or merged into one."""
    density: float = Field(default=0.5, gt=0, le=1)
    """Share of entries that ties and dare_ties keep."""
    repeats: int = Field(default=5, ge=1, le=100)
    """Seeds of dare_ties."""
    chat: Literal["template", "plain"] = "template"
    """How conversations are written, as of blame."""
    site: str | None = None
    """Where shifts of activations are compared; by default after the last block."""
    shift_rows: int = Field(default=16, ge=0)
    """Rows of each target for that; 0 leaves it out."""
    known: RunPath | None = None
    """An earlier run: evaluations of the same weights on the same rows are taken from it."""
    allow_missing: bool = False
    """Exit 0 although pairs are missing or inconclusive; they are still shown."""
    schema_: Literal["radiograph", "soup"] = "radiograph"
    """Keys of the JSON; soup: those of soup-cli."""


def run(config: Config, ctx: Context) -> Interference:
    """Read or measure, judge, write."""
    from radiograph.methods.probe._interference import compare

    return compare.compare(config, ctx)


def soup(result: Interference) -> dict[str, Any]:
    """The keys of soup-cli.

    Raises:
        Refusal: a pair has no band, which those keys cannot say.
    """
    from radiograph.methods.probe._interference import compare

    return compare.soup(result)


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """Scores, intervals, bands and the worst pair again, from the stored losses."""
    from radiograph.methods.probe._interference import again

    return again.problems(result, folder)
