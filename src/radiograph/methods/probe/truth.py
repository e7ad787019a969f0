"""Does a calibrated probe say that what stands in some text is true, for a model, and of how much of it?

1. identity: the model of the probe is the target, or what the target was tuned from; same site, width, tokenizer
2. support: is the evidence like what the probe was calibrated on, row by row and as a set
3. score ⟨w, n(x)⟩ of every token or text, flagged above the threshold; rate among rows inside, with an interval over
   groups
4. band from the interval alone: entirely above 20 % MAJOR; at most --bands 5 % OK; at most 20 % MINOR; else
   INCONCLUSIVE, with the rows and groups that would decide. `point_band` reads the estimate as if it were the truth
5. with --reference: difference of rates on the same texts, and shift of the score; with --labels: AUROC of both
Source: Marks and Tegmark 2023. Units: shares of rows; scores in units of the probe.
Refuses, NOT-MEASURED and exit 4, when: no evidence, no probe, a placeholder, an uncalibrated probe, another model or
site, evidence outside the support. MAJOR exits 2.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from radiograph.core import Context
from radiograph.evidence.probes.probe import ProbeReading
from radiograph.methods._probe.options import Banded

RULES = {"reading": 2}
LIMITS = ("tokens", "width", "json-bytes")


class Config(Banded):
    """What is looked at, with which probe, on what evidence."""


def run(config: Config, ctx: Context) -> ProbeReading:
    """Read and judge."""
    from radiograph.methods._probe.reading import edges_of, reading

    return reading(config, ctx, "truth", edges_of(config.bands))


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """Whether support, rate, band and comparisons follow from the stored rows."""
    from radiograph.methods._probe.recompute import unlike_reading
    from radiograph.store import derived

    return derived(lambda: unlike_reading(ProbeReading.read(result), folder))


def as_written(result: dict[str, Any], folder: Path) -> list[str]:
    """Texts, and what rows say of where they come from."""
    from radiograph.methods._probe.recompute import as_written as taken

    return taken(ProbeReading.read(result))


def soup(result: ProbeReading) -> dict[str, Any]:
    """The keys of soup-cli."""
    from radiograph.methods._probe.reading import soup_of

    return soup_of(result)
