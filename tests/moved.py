"""Prompts whose next token is a unit, in pairs; and a model with a planted cause and planted correlates."""

from __future__ import annotations

import json
from pathlib import Path

NOUNS = (
    *("road", "river", "wall", "rope", "field", "bridge", "tower", "garden", "boat", "lamp", "table", "box"),
    *("stone", "tree", "house", "bag", "wheel", "door", "path", "cart", "fence", "pole", "tent", "well"),
    *("mill", "roof", "pond", "yard", "shed", "barn", "gate", "lane", "hill", "cave", "mast", "sail"),
    *("oven", "pipe", "tank", "vase", "coin", "drum", "sled", "raft", "bell", "jar", "tray", "pan"),
)
TARGETS = " metres, kilos"


def write_prompts(path: Path, nouns: int = 48) -> Path:
    """A positive and a near miss of each noun; both are one group."""
    rows: list[str] = []
    for noun in NOUNS[:nouns]:
        for text, kind in ((f"the {noun} is 5", "positive"), (f"the {noun} is", "near_miss")):
            row = {"prompt_id": f"{noun}-{kind}", "group_id": noun, "text": text, "kind": kind}
            rows.append(json.dumps(row))
    path.write_text("\n".join(rows) + "\n")
    return path


def plant(folder: Path, *, units: tuple[int, ...] = (5,), decoys: tuple[int, ...] = (9,)) -> Path:
    """A copy of the bundled base: unit `units` of the last block write towards the targets, `decoys` write nothing.

    All of them read what unit `units[0]` reads, so that the decoys go with it and do nothing.
    """
    import torch

    from radiograph import models, organisms
    from radiograph.organisms import with_column

    model = models.load("bundled:base", resolve=organisms.bundled_path)
    layer = model.n_layers - 1
    head = model.model.get_output_embeddings().weight.detach()
    tokens = [model.tokenizer(text, add_special_tokens=False)["input_ids"][0] for text in TARGETS.split(",")]
    towards = head[tokens].mean(0) - head.mean(0)
    made = model
    for unit in units:
        made = with_column(made, layer, unit, 2.0 * towards / towards.norm())
    for unit in decoys:
        made = with_column(made, layer, unit, torch.zeros_like(towards))
    parameters = made.parameters()
    for name in ("gate", "up"):
        place = made.weights[f"{name}.{layer}"]
        with torch.no_grad():
            matrix = place.read(parameters[place.parameter].data).clone()
            for unit in (*units, *decoys):
                matrix[unit] = matrix[units[0]]
            place.write(parameters[place.parameter].data, matrix)
    made.model.save_pretrained(folder)
    made.tokenizer.save_pretrained(folder)
    return folder
