"""One pass of a dictionary over rows: every metric of reconstruction and codes, with intervals over prompt groups.

1. encode and decode batch by batch, through the same sparse path as always; no [rows, F] array exists
2. sums in float64 per unit of resampling (`numerics.dictionaries.tables`), per target, by position and by norm
3. a crosscoder's targets each count the same; its sources are reported one by one beside the whole
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from radiograph.core.shapes import Float64, Int
from radiograph.dictionaries._dictionary import Dictionary
from radiograph.dictionaries._quality import plain
from radiograph.dictionaries.measures._blocks import Blocks, Survey
from radiograph.numerics.dictionaries.tables import Band, CodeTable, TargetTable, Value, reconstruction_values
from radiograph.numerics.dictionaries.units import Draws
from radiograph.numerics.reconstruction import density_histogram


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """What one dictionary is worth on some rows."""

    n: int
    values: dict[str, Value]
    """By name: `fvu`, `explained_variance`, `ev_centred`, `ev_per_token`, `nmse`, `cosine`, `norm_ratio`, `shrinkage`,
    `l0`, `l0_median`, `l0_95`, `l1`, `dead`, `dense`."""
    sources: dict[str, dict[str, Value]]
    """The same of reconstruction, target by target."""
    by_position: dict[str, list[Band]]
    by_norm: dict[str, list[Band]]
    density: Float64[np.ndarray, " feature"]

    @property
    def histogram(self) -> Int[np.ndarray, " 70"]:
        """Live features in 70 bins of log10 density."""
        return density_histogram(self.density)

    def number(self, name: str) -> float | None:
        """A metric without its interval."""
        found = self.values.get(name)
        return None if found is None else found.value


def tabulate(dictionary: Dictionary, blocks: Blocks, survey: Survey, taken: Draws) -> Tables:
    """Measure a dictionary on the rows of a survey; `taken` are the draws of its units."""
    tables = [
        TargetTable(mean, deciles, survey.units) for mean, deciles in zip(survey.means, survey.deciles, strict=True)
    ]
    counts = CodeTable(dictionary.size, survey.units)
    for block in blocks():
        rows = plain(block.inputs)
        codes = dictionary.encode(rows)
        rebuilt = dictionary.decode(codes, rows)
        parts = zip(
            tables, dictionary.split_targets(plain(block.targets)), dictionary.split_targets(rebuilt), strict=True
        )
        for table, target, reconstruction in parts:
            table.add(target.cpu().numpy(), reconstruction.cpu().numpy(), block.units, block.positions)
        size = codes.values.new_zeros(codes.n_rows, dtype=torch.float64)
        size.index_add_(0, codes.rows, codes.values.double().abs())
        entries = codes.rows.cpu().numpy(), codes.indices.cpu().numpy()
        counts.add(block.units, codes.active.cpu().numpy(), size.cpu().numpy(), *entries)
    sources = {
        target: reconstruction_values([table], taken) for target, table in zip(dictionary.targets, tables, strict=True)
    }
    named = list(zip(dictionary.targets, tables, strict=True))
    return Tables(
        n=survey.n,
        values=reconstruction_values(tables, taken) | counts.values(taken),
        sources=sources,
        by_position={target: table.by("position", taken) for target, table in named},
        by_norm={target: table.by("norm", taken) for target, table in named},
        density=counts.density,
    )
