"""`adversarial_recon`: D under the worst r in [0, 1] that is found, Δ's mask included.

`scope` `batch`: one r for the whole batch; `point`: one each. `_layerwise` attacks weights one at a time, `_subset`
routes. `steps`, `size`, `random`, `starts` are those of the adversary. The r that is found is kept, so that what is
reported is what was attacked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from radiograph.decompose._scene import Scene
from radiograph.decompose.adversary import Attack, attack
from radiograph.decompose.losses._loss import Option
from radiograph.models.masked import Mask

OPTIONS: dict[str, Option] = {"router": "all", "scope": "batch", "steps": 1, "size": 1.0, "random": 1, "starts": 1}


def measure(scene: Scene, options: Mapping[str, Any]) -> Tensor:
    """The distance at the worst r, with gradients to everything but r."""
    router = str(options["router"])
    if router == "layerwise":
        each = [_one(scene, options, {weight: None}) for weight in scene.weights]
        return torch.stack(each).mean()
    from radiograph.decompose.routers import route

    return _one(scene, options, route(router, scene.weights, scene.shape, scene.generator))


def _one(scene: Scene, options: Mapping[str, Any], routes: Mapping[str, Tensor | None]) -> Tensor:
    settings = Attack(int(options["random"]), int(options["starts"]), int(options["steps"]), float(options["size"]))
    n = scene.variables
    shape = (*scene.shape, n) if options["scope"] == "point" else (n,)
    frozen = [t for f in scene.factors.values() for t in (f.reads, f.writes) if t.requires_grad]
    for tensor in frozen:
        tensor.requires_grad_(False)

    def masks(r: Tensor, *, detached: bool) -> dict[str, Mask]:
        found = scene.attacked(r.view(shape), detached=detached)
        return {w: Mask(found[w].components, found[w].delta, route) for w, route in routes.items()}

    def objective(points: Tensor) -> Tensor:
        return torch.stack([scene.mean_distance(scene.output(masks(r, detached=True))) for r in points])

    free = n * (torch.Size(scene.shape).numel() if options["scope"] == "point" else 1)
    try:
        worst = attack(objective, free, settings, scene.generator, rows=1, like=scene.seen.output.detach().float())
    finally:
        for tensor in frozen:
            tensor.requires_grad_(True)
    scene.memory["adversarial_recon/worst"] = worst.point.detach()
    return scene.mean_distance(scene.output(masks(worst.point, detached=False)))
