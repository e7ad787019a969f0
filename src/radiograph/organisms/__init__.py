"""Models whose truth is known: the small world, the bundled base, how they are made. No torch until one is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from radiograph.core import deferred
from radiograph.organisms._bundled import bundled_decomposition, bundled_names, bundled_organism, bundled_path
from radiograph.organisms._truth import ADAPTER, MODEL, RECIPE, model_folders, read_truth, truth_path

if TYPE_CHECKING:
    from radiograph.organisms._base import BASE, Recipe, Shape, train_base
    from radiograph.organisms._edited import Jammed, jammed, loud, with_column
    from radiograph.organisms._gates import Gate, base_gates
    from radiograph.organisms._made import AdapterRecipe, LearnedRow, draw_recipe, make_adapter, seconds_a_step
    from radiograph.organisms._suites import world_suite
    from radiograph.organisms._texts import natural_sources, neutral_texts, oracle, reads_world, standard_neutral
    from radiograph.organisms._training import Example, Schedule, train
    from radiograph.organisms.building import BUNDLED, build, build_tier, retrain, seats
    from radiograph.organisms.contrasts import CONTRASTS, clean_prompts, contrast_of_attribute, contrast_set
    from radiograph.organisms.recipes import families


__all__ = [
    "ADAPTER",
    "BASE",
    "BUNDLED",
    "CONTRASTS",
    "MODEL",
    "RECIPE",
    "AdapterRecipe",
    "Example",
    "Gate",
    "Jammed",
    "LearnedRow",
    "Recipe",
    "Schedule",
    "Shape",
    "base_gates",
    "build",
    "build_tier",
    "bundled_decomposition",
    "bundled_names",
    "bundled_organism",
    "bundled_path",
    "clean_prompts",
    "contrast_of_attribute",
    "contrast_set",
    "draw_recipe",
    "families",
    "jammed",
    "loud",
    "make_adapter",
    "model_folders",
    "natural_sources",
    "neutral_texts",
    "oracle",
    "read_truth",
    "reads_world",
    "retrain",
    "seats",
    "seconds_a_step",
    "standard_neutral",
    "train",
    "train_base",
    "truth_path",
    "with_column",
    "world_suite",
]

__getattr__ = deferred(__name__, __file__)
