"""`records:PATH`: activations that were recorded: a folder, the bundle that holds it, or JSON Lines of others.

Numbers after `#` are those of units and latents; where ids are no addresses, places among the sorted ids.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

from radiograph.core import FeatureAddress, UserError
from radiograph.sources._given import Stored
from radiograph.sources._grammar import Reference
from radiograph.sources._parts import Parts
from radiograph.store.foreign import read_records


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
        path, parts.cache(), model=options.model, duplicates=options.duplicates, n_layers=options.n_layers
    )
    numbers = reference.numbers
    chosen = None if numbers is None else _chosen(records.features["feature_id"].to_list(), numbers, reference)
    return Stored(reference.named(parts.label(reference.where)), records, chosen)


def _chosen(ids: list[str], numbers: np.ndarray, reference: Reference) -> Bool[np.ndarray, " feature"]:
    addresses = [FeatureAddress.parse(name) for name in ids]
    places = [
        number if address is None else address.unit if address.unit is not None else address.latent
        for number, address in enumerate(addresses)
    ]
    own = np.array([-1 if place is None else place for place in places])
    chosen = np.isin(own, numbers)
    if not chosen.any():
        shown = ", ".join(ids[:8]) + (f", … {len(ids) - 8} more" if len(ids) > 8 else "")
        raise UserError(
            f"{reference.text!r} chooses none of the features", expected=f"among {shown}", code="unknown_feature"
        )
    return chosen
