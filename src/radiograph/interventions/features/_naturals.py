"""What is natural for the features of a codec: how often and how strongly they fire, how the site lies in space.

One pass over reference texts, first positions left out: counts, means and squares of the non-zero codes, the largest,
the mean L2 norm of the rows of the site that is written, and their covariance. Doses refer to these:
`sd` of the non-zero codes · `max`, share of the largest · `norm`, share of the mean norm, by the length of what a code
writes · `raw`, in the codec's unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from radiograph.core import Site, UserError
from radiograph.core.codec import Codec
from radiograph.core.shapes import Float64, Int64
from radiograph.interventions.features._write import BATCH_TOKENS, own_site
from radiograph.models import LanguageModel, stream

UNITS = ("sd", "max", "norm", "raw")


@dataclass(frozen=True, slots=True)
class Natural:
    """One feature."""

    sd: float
    largest: float
    length: float
    """Of what a code of 1 writes."""
    norm: float
    """Mean length of the rows of the site."""

    def raw(self, value: float, unit: str, feature: str) -> float:
        """A dose in the codec's unit.

        Raises:
            UserError: the feature never fires on the reference texts, so that it has no such unit.
        """
        scale = {"sd": self.sd, "max": self.largest, "norm": self.norm / self.length, "raw": 1.0}[unit]
        if not scale > 0 or not np.isfinite(scale):
            raise UserError(
                f"{feature} never moves on the reference texts: it has no {unit} to count in",
                fix="give doses in norm or raw, or other reference texts (--neutral)",
                code="dead_feature",
            )
        return value * scale

    def share(self, raw: float) -> float:
        """Length of a push over the mean norm of the site."""
        return abs(raw) * self.length / self.norm


@dataclass(frozen=True, eq=False)
class Naturals:
    """All features of a codec."""

    n: int
    """Positions."""
    fired: Int64[np.ndarray, " feature"]
    mean: Float64[np.ndarray, " feature"]
    """Of the non-zero codes; 0 where there is none."""
    sd: Float64[np.ndarray, " feature"]
    largest: Float64[np.ndarray, " feature"]
    """Largest |code|."""
    norm: float
    covariance: Float64[np.ndarray, "width width"]
    """Of the site that is written."""

    def of(self, numbers: Sequence[int], direction: Float64[np.ndarray, " width"]) -> Natural:
        """One of them, or several that move together: the mean of their sd and of their largest codes."""
        own = list(numbers)
        length = float(np.linalg.norm(direction))
        return Natural(float(self.sd[own].mean()), float(self.largest[own].mean()), length, self.norm)


def naturals_of(model: LanguageModel, codec: Codec, site: Site, tokens: Sequence[Sequence[int]]) -> Naturals:
    """Measure on reference texts.

    Raises:
        UserError: no position is left.
    """
    sites = [own_site(model, address) for address in codec.sites]
    width = model.site_width(site)
    fired, largest = np.zeros(codec.size, dtype=np.int64), np.zeros(codec.size)
    first, second = np.zeros(codec.size), np.zeros(codec.size)
    total, outer, lengths, n = np.zeros(width), np.zeros((width, width)), 0.0, 0
    for batch, found in stream(model, tokens, list(dict.fromkeys([*sites, site])), batch_tokens=BATCH_TOKENS):
        kept = batch.mask.clone()
        kept[:, 0] = False
        kept = kept.to(model.device)
        codes = codec.encode(torch.cat([found[s] for s in sites], -1)[kept].float())
        index, value = codes.indices.cpu().numpy(), codes.values.double().cpu().numpy()
        fired += np.bincount(index, minlength=codec.size)
        first += np.bincount(index, value, codec.size)
        second += np.bincount(index, np.square(value), codec.size)
        np.maximum.at(largest, index, np.abs(value))
        rows = found[site][kept].double().cpu().numpy()
        total += rows.sum(axis=0)
        outer += rows.T @ rows
        lengths += float(np.linalg.norm(rows, axis=1).sum())
        n += len(rows)
    if not n:
        raise UserError("the reference texts have no position beyond the first of each", code="no_neutral")
    mean = first / np.maximum(fired, 1)
    spread = np.sqrt(np.maximum(second / np.maximum(fired, 1) - np.square(mean), 0.0))
    centre = total / n
    return Naturals(n, fired, mean, spread, largest, lengths / n, outer / n - np.outer(centre, centre))
