"""Losses of a decomposition, one file each; see `_loss`."""

from __future__ import annotations

from radiograph.decompose.losses._loss import Loss, kind_of, names, parse

__all__ = ["Loss", "kind_of", "names", "parse"]
