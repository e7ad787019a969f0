"""Low-rank edits of weights: as an adapter, baked into a copy of a model, and taken back. Knows no component.

`Additions` (by address, reads and writes) comes from `models.lowrank`. `write_adapter`, `baked`, `undone`, `Stack`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from radiograph.core import deferred

if TYPE_CHECKING:
    from radiograph.interventions.edits._adapter import joined, without_zeros, write_adapter
    from radiograph.interventions.edits._baked import BYTES, ORIGINALS, BakedFile, Originals, bake, read_originals
    from radiograph.interventions.edits._stack import STACK, Layer, Stack, read_stack, write_stack
    from radiograph.interventions.edits._undo import check_top, undo

__all__ = [
    "BYTES",
    "ORIGINALS",
    "STACK",
    "BakedFile",
    "Layer",
    "Originals",
    "Stack",
    "bake",
    "check_top",
    "joined",
    "read_originals",
    "read_stack",
    "undo",
    "without_zeros",
    "write_adapter",
    "write_stack",
]

__getattr__ = deferred(__name__, __file__)
