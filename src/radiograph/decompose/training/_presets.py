"""Presets: what is not given. CPU presets of TMS use the `shared` importance, a `spread` start without warm-up, and a
rate that is flat for 60 %.

`published-*` are the configurations of the papers, for a GPU. `lm-block` is one block of a small language model, `lm`
all of its matrices, `bundled` the recipe of `decomposition:bundled`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from radiograph.core import UserError, nearest

_LM = {
    "distance": "kl",
    "warmup_rate": 1e-2,
    "warmup_decay": 0.0,
    "eval_every": 100,
}
_PUBLISHED = {"start": "random", "warmup_steps": 200, "schedule": "cosine", "importance": "scalar", "batch": 4096}


def _toy(components: int, hidden: int, batch: int, minimality: str, rate: float, steps: int) -> dict[str, Any]:
    return {
        "weights": (f"*={components}",),
        "distance": "mse",
        "start": "spread",
        "warmup_steps": 0,
        "importance": "shared",
        "importance_options": {"hidden": hidden},
        "losses": (f"minimality:{minimality}", "recon:1", "recon_layerwise:1"),
        "batch": batch,
        "learning_rate": rate,
        "steps": steps,
        "eval_every": 1000,
    }


def _published(
    components: int, minimality: str, steps: int = 10_000, rate: float = 1e-3, **more: Any
) -> dict[str, Any]:
    own = {"importance_options": {"hidden": 16}, **_PUBLISHED, **more}
    return _toy(components, 16, 4096, minimality, rate, steps) | own


PRESETS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "tms-5-2": _toy(20, 64, 256, "3e-3,p=1", 3e-3, 4000),
        "tms-10-5": _toy(40, 64, 256, "1e-3,p=1", 3e-3, 2000),
        "tms-40-10": _toy(100, 128, 512, "3e-4,p=1", 2e-3, 6000),
        "tms-5-2-identity": _toy(20, 64, 512, "3e-3,p=1", 3e-3, 4000),
        "tms-40-10-identity": _toy(80, 128, 512, "3e-4,p=1", 2e-3, 4000),
        "published-tms-5-2": _published(20, "3e-3,p=1"),
        "published-tms-5-2-identity": _published(20, "3e-3,p=1"),
        "published-tms-40-10": _published(200, "1e-4,p=2"),
        "published-tms-40-10-identity": _published(200, "1e-4,p=2"),
        "resid-mlp-1": _published(100, "1e-5,p=2", 20_000, 2e-3, batch=2048, schedule="constant"),
        "resid-mlp-2": _published(
            400,
            "1e-4,p=2",
            25_000,
            3e-4,
            batch=2048,
            schedule="constant",
            importance="shared",
            importance_options={"hidden": 256},
            losses=("minimality:1e-4,p=2", "recon_subset:1", "adversarial_recon_subset:1"),
        ),
        "resid-mlp-3": _published(
            500, "1e-5,p=2", 50_000, 1e-3, batch=2048, schedule="constant", importance_options={"hidden": 128}
        ),
        "lm-block": _LM
        | {
            "weights": ("gate.1=192", "up.1=192", "down.1=192"),
            "importance": "shared",
            "importance_options": {"hidden": 64},
            "losses": (
                "faithfulness:1e6",
                "minimality:1e-3,p=2,p_end=0.4",
                "recon_subset:0.5",
                "adversarial_recon_subset:0.5",
            ),
            "batch": 12,
            "length": 96,
            "learning_rate": 2e-3,
            "steps": 5000,
            "warmup_steps": 400,
        },
        "lm": _LM
        | {
            "weights": ("[qkvo].*=64", "gate.*=128", "up.*=128", "down.*=128"),
            "importance": "shared",
            "importance_options": {"hidden": 64},
            "losses": (
                "faithfulness:1e6",
                "minimality:1e-3,p=2,p_end=0.4",
                "recon_subset:0.5",
                "persistent:0.5",
            ),
            "batch": 12,
            "length": 96,
            "learning_rate": 2e-3,
            "steps": 5000,
            "warmup_steps": 400,
        },
        "bundled": _LM
        | {
            "weights": (
                "embed=96",
                "q.*=64",
                "k.*=32",
                "v.*=40",
                "o.*=64",
                "gate.*=80",
                "up.*=80",
                "down.*=96",
            ),
            "importance": "shared",
            "importance_options": {"hidden": 48},
            "losses": (
                "faithfulness:1e5",
                "minimality:2e-3,p=1,p_end=0.4,end=0.7",
                "recon_subset:0.5",
                "persistent:0.5",
            ),
            "batch": 4,
            "length": 64,
            "learning_rate": 4e-3,
            "steps": 1500,
            "warmup_steps": 300,
        },
    }
)


def preset_of(name: str) -> dict[str, Any]:
    """A preset by name.

    Raises:
        UserError: unknown, with the nearest names.
    """
    if name not in PRESETS:
        close = nearest(name, list(PRESETS))
        raise UserError(
            f"no preset {name!r}",
            expected=", ".join(PRESETS),
            fix=f"did you mean {', '.join(close)}?" if close else None,
            code="unknown_preset",
        )
    return dict(PRESETS[name])
