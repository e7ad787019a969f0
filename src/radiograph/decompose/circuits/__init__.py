"""Circuits of a prompt: its graph, the smallest selection that still does it, and what a selection is worth."""

from __future__ import annotations

from typing import TYPE_CHECKING

from radiograph.core import deferred

if TYPE_CHECKING:
    from radiograph.decompose.circuits._coded import Coded
    from radiograph.decompose.circuits._context import Context, Label, context_of
    from radiograph.decompose.circuits._graph import Drawn, Goal, GraphSettings, draw
    from radiograph.decompose.circuits._optimise import Optimised, Settings, Snapshot, optimise
    from radiograph.decompose.circuits._prompt import Prompt
    from radiograph.decompose.circuits._regimes import (
        Delta,
        Lowest,
        Measured,
        Regime,
        Regimes,
        controls,
        measure,
        nothing_kept,
        worst,
    )
    from radiograph.decompose.circuits._repair import Repaired, holds, repair

__all__ = [
    "Coded",
    "Context",
    "Delta",
    "Drawn",
    "Goal",
    "GraphSettings",
    "Label",
    "Lowest",
    "Measured",
    "Optimised",
    "Prompt",
    "Regime",
    "Regimes",
    "Repaired",
    "Settings",
    "Snapshot",
    "context_of",
    "controls",
    "draw",
    "holds",
    "measure",
    "nothing_kept",
    "optimise",
    "repair",
    "worst",
]

__getattr__ = deferred(__name__, __file__)
