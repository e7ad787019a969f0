"""A small target with known parts, and settings that train it in a second."""

from __future__ import annotations

import torch

from radiograph.decompose.training import Settings, Vectors
from radiograph.organisms.toys import load_toy

DATA = Vectors(5, 0.05, 0.0, 1.0, 0)


def target():
    return load_toy("tms-5-2").target


def settings(**changes):
    base = {
        "sizes": {"w_in": 8, "w_out": 8},
        "losses": ("faithfulness:1", "minimality:3e-3,p=1", "recon:1", "recon_layerwise:1"),
        "distance": "mse",
        "steps": 12,
        "batch": 32,
        "warmup_steps": 5,
        "eval_every": 4,
        "importance_options": {"hidden": 8},
    }
    return Settings(**(base | changes))


def flat(trained):
    """Everything that was trained, side by side."""
    parts = [t.flatten() for f in trained.factors.values() for t in (f.reads, f.writes)]
    return torch.cat([*parts, *(t.detach().flatten() for t in trained.importance.tensors.values())])
