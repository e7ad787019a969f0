"""Labelled texts in the language of the small world that probes are built from, and clean ones beside them."""

from radiograph.organisms.contrasts._sets import (
    CONTRASTS,
    ContrastText,
    clean_prompts,
    contrast_of_attribute,
    contrast_set,
)

__all__ = ["CONTRASTS", "ContrastText", "clean_prompts", "contrast_of_attribute", "contrast_set"]
