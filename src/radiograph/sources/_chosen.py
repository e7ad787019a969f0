"""Which features of a codec are meant, and what the user calls them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from radiograph.core import derive
from radiograph.sources._grammar import Reference
from radiograph.sources._labels import read_labels
from radiograph.sources._parts import Parts


def chosen(reference: Reference, size: int, parts: Parts) -> NDArray[np.int64]:
    """The numbers after `#`, of those at most `max_features`, drawn with the seed of the run; ascending.

    Raises:
        UserError: a number that is not there.
    """
    return drawn(reference.within(size), parts)


def drawn(numbers: NDArray[np.int64], parts: Parts) -> NDArray[np.int64]:
    """At most `max_features` of some numbers, drawn with the seed of the run; ascending."""
    most = parts.options.max_features
    if most is None or len(numbers) <= most:
        return numbers
    luck = np.random.default_rng(derive(parts.seed, "features", parts.role))
    return np.sort(luck.choice(numbers, most, replace=False))


def labels_of(parts: Parts) -> dict[int, str]:
    """Labels of the user's file; none where there is no file."""
    if parts.options.labels is None:
        return {}
    return read_labels(parts.path(parts.options.labels, f"{parts.role}.labels"))
