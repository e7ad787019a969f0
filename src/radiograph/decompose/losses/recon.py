"""`recon`: D under stochastic masks, of all weights at once; `recon_layerwise` one at a time, `recon_subset` routed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from radiograph.decompose._scene import Scene
from radiograph.decompose.losses._loss import Option

OPTIONS: dict[str, Option] = {"router": "all", "masks": "continuous"}


def measure(scene: Scene, options: Mapping[str, Any]) -> Tensor:
    """One draw."""
    return scene.under(str(options["masks"]), str(options["router"]))
