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
from typing import TYPE_CHECKING, Any

from radiograph.core import Context
from radiograph.methods.probe._interference.options import Config

if TYPE_CHECKING:
    from radiograph.evidence.probes.interference import Interference

__all__ = ["Config", "recompute", "run", "soup"]
RULES = {"interference": 2}
LIMITS = ("losses-bytes", "adapters", "name-characters", "rows")
TOLERANCE = 1e-6


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
    from radiograph.store import derived

    return derived(lambda: again.problems(result, folder))
