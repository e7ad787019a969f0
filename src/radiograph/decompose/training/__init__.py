"""Training: with what (`Settings`), on what (`Data`), from where (`started`), and the loop (`train`)."""

from __future__ import annotations

from radiograph.decompose.training._data import Data, TokenRows, Vectors, packed
from radiograph.decompose.training._loop import LogRow, Trained, train
from radiograph.decompose.training._settings import Settings
from radiograph.decompose.training._start import started

__all__ = ["Data", "LogRow", "Settings", "TokenRows", "Trained", "Vectors", "packed", "started", "train"]
