"""`unmasked_recon`: D with masks 1 and without Δ: what the components alone compute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from radiograph.decompose._scene import Scene
from radiograph.decompose.losses._loss import Option

OPTIONS: dict[str, Option] = {}


def measure(scene: Scene, options: Mapping[str, Any]) -> Tensor:
    """The distance."""
    return scene.under("ones", "all")
