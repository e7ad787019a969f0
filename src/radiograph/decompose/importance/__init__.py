"""Causal importance functions, one file per kind; see `_kind`."""

from __future__ import annotations

from radiograph.decompose.importance._kind import Importance, Size, kind_of, names, new, settled

__all__ = ["Importance", "Size", "kind_of", "names", "new", "settled"]
