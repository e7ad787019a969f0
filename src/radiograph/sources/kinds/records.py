"""`records:PATH`: activations that were recorded: a folder, the bundle that holds it, or JSON Lines of others.

Numbers after `#`, and those in a file of labels, are those of units and latents; where ids are no addresses, places
among the sorted ids. Of several features of one number all are chosen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from radiograph.core import FeatureAddress, UserError
from radiograph.core.shapes import Bool, Int64
from radiograph.sources._chosen import drawn, labels_of
from radiograph.sources._given import Stored
from radiograph.sources._grammar import Reference
from radiograph.sources._parts import Parts
from radiograph.store.foreign import read_records
from radiograph.store.records import MEMORY, Records

if TYPE_CHECKING:
    import polars


@dataclass(frozen=True)
class Labelled(Records):
    """Records whose features have the user's labels over their own."""

    labels: Mapping[int, str] = field(default_factory=dict)

    @property
    def features(self) -> polars.DataFrame:
        """A line a feature, silent ones included."""
        import polars as pl

        table = super().features
        own = [self.labels.get(number) for number in _numbers(table["feature_id"].to_list()).tolist()]
        return table.with_columns(pl.coalesce(pl.Series("label", own, dtype=pl.String), "label").alias("label"))


def open(reference: Reference, parts: Parts) -> Stored:
    """Open, or turn once, the records.

    Raises:
        UserError: nothing there, or none of the features. FormatError: every mistake, with its line.
    """
    if not reference.where:
        raise UserError(f"{reference.text!r} names no place", expected="records:PATH", code="bad_features")
    path = parts.path(reference.where, parts.role)
    options = parts.options
    records = read_records(
        path,
        parts.cache(),
        model=options.model,
        duplicates=options.duplicates,
        n_layers=options.n_layers,
        memory=MEMORY if options.memory is None else options.memory,
    )
    if labels := labels_of(parts):
        records = Labelled(records.folder, records.header, labels)
    return Stored(
        reference.named(parts.label(reference.where)),
        records,
        _chosen(records.features["feature_id"].to_list(), reference, parts),
    )


def _chosen(ids: list[str], reference: Reference, parts: Parts) -> Bool[np.ndarray, " feature"] | None:
    """Which features are meant; None: all."""
    numbers = reference.numbers
    places = np.arange(len(ids)) if numbers is None else np.flatnonzero(np.isin(_numbers(ids), numbers))
    if not len(places):
        shown = ", ".join(ids[:8]) + (f", … {len(ids) - 8} more" if len(ids) > 8 else "")
        raise UserError(
            f"{reference.text!r} chooses none of the features", expected=f"among {shown}", code="unknown_feature"
        )
    kept = drawn(places, parts)
    if len(kept) == len(ids):
        return None
    chosen = np.zeros(len(ids), dtype=bool)
    chosen[kept] = True
    return chosen


def _numbers(ids: list[str]) -> Int64[np.ndarray, " feature"]:
    """The number of each feature; −1 for a direction."""
    addresses = [FeatureAddress.parse(name) for name in ids]
    numbers = [
        place if address is None else address.unit if address.unit is not None else address.latent
        for place, address in enumerate(addresses)
    ]
    return np.array([-1 if number is None else number for number in numbers], dtype=np.int64)
