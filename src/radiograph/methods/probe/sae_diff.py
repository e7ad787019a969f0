"""Which features of a dictionary moved between two models, and which of them carry the shift.

1. rows of both sides on the same tokens: stored activations, or two models that are harvested now
2. every feature: shift of its pre-activation, in standard deviations of the reference; t over groups; p against signs
   of whole groups flipped at random, pooled over features; Benjamini-Hochberg. In an overcomplete dictionary nearly
   every feature moves
3. which rows of the decoder carry the shift, jointly: one after the other, each tested against flipped groups and
   against what a random direction's nearest row explains; the rest is noise, or diffuse. A sham goes through 2 and 3
4. codes: rates, means, what turned on and off; L2 of mean codes with its floor (--depth full)
5. reconstruction on a sample: FVU on both sides, the share of token shifts that it misses beside random dictionaries

Units: standard deviations of the reference; coefficients are lengths of what is written. Structural evidence: what a
feature causes is measured by `intervene`. Refuses when: rows, width, tokens or sites of the sides differ; the
dictionary was trained elsewhere, or does not explain the reference as recorded; a value is not finite (exit 3).
Under 12 groups nothing is tested. A demand (--require) that is not met exits 2, one that was not measured 4.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from radiograph.core import Context
from radiograph.methods.probe._sae_diff.options import Config

if TYPE_CHECKING:
    from radiograph.evidence.probes.shift import FeatureShift

__all__ = ["Config", "recompute", "run", "soup"]
RULES = {"shift": 2}
LIMITS = ("tokens", "features", "width", "json-bytes", "dictionary-bytes", "dictionary-tensors", "top-k")
DOWNLOADS = True
TOLERANCE = 1e-4


def run(config: Config, ctx: Context) -> FeatureShift:
    """Open both sides and the dictionary, measure, write."""
    from radiograph.methods.probe._sae_diff import compare

    return compare.compare(config, ctx)


def soup(result: FeatureShift) -> dict[str, Any]:
    """The keys of soup-cli's report.

    Raises:
        Refusal: codes were not counted.
    """
    from radiograph.methods.probe._sae_diff import written

    return written.soup(result)


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """Counts, q, coefficients, shares, drift, FVU and demands from the tables; the search where the dictionary is."""
    from radiograph.methods.probe._sae_diff import again
    from radiograph.store import derived

    return derived(lambda: again.problems(result, folder))


def as_written(result: dict[str, Any], folder: Path) -> list[str]:
    """What needs the activations, or a dictionary that is not at hand."""
    from radiograph.methods.probe._sae_diff import again

    return again.as_written(result, folder)
