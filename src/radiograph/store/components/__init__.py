"""What a harvest of weight components leaves on disk: raw counts, read as a summary first and then one at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from radiograph.core import deferred

if TYPE_CHECKING:
    from radiograph.store.components._attributions import Attributions, Effect, open_attributions
    from radiograph.store.components._parts import StoredArrays, read_arrays, write_arrays
    from radiograph.store.components._read import ComponentStatistics, Evidence, Examples, TokenCounts, open_statistics
    from radiograph.store.components._said import open_clusters, open_component_labels
    from radiograph.store.components._write import ExampleRows, Windows, write_cofire, write_examples, write_tokens

__all__ = [
    "Attributions",
    "ComponentStatistics",
    "Effect",
    "Evidence",
    "ExampleRows",
    "Examples",
    "StoredArrays",
    "TokenCounts",
    "Windows",
    "open_attributions",
    "open_clusters",
    "open_component_labels",
    "open_statistics",
    "read_arrays",
    "write_arrays",
    "write_cofire",
    "write_examples",
    "write_tokens",
]

__getattr__ = deferred(__name__, __file__)
