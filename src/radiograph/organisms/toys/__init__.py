"""Toy targets with their truth: TMS and residual MLPs, trained by committed recipes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from radiograph.core import deferred

if TYPE_CHECKING:
    from radiograph.organisms.toys._networks import ResidualMLP, Superposition
    from radiograph.organisms.toys._recipes import RECIPES, Known, ToyRecipe, directions, recipe_of, train_toy
    from radiograph.organisms.toys._stored import Toy, is_toy, load_toy, read_toy, write_toy

__all__ = [
    "RECIPES",
    "Known",
    "ResidualMLP",
    "Superposition",
    "Toy",
    "ToyRecipe",
    "directions",
    "is_toy",
    "load_toy",
    "read_toy",
    "recipe_of",
    "train_toy",
    "write_toy",
]

__getattr__ = deferred(__name__, __file__)
