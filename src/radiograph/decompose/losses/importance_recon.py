"""`importance_recon`: D with importance itself as masks, without Δ; `_layerwise` and `_subset` as for `recon`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from radiograph.decompose._scene import Scene
from radiograph.decompose.losses._loss import Option

OPTIONS: dict[str, Option] = {"router": "all"}


def measure(scene: Scene, options: Mapping[str, Any]) -> Tensor:
    """The distance."""
    return scene.under("importance", str(options["router"]))
