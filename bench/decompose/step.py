"""Training steps against the same losses as plain dense products in one file, and against bare products.

    python bench/decompose/step.py 5-2 | 40-10 | lm-block | importance | forward | adversary

Both sides in one process, alternating, CPU seconds, medians of five blocks; where both compute the same thing their
outputs are compared first. Prints both sides and the ratio, with the bar that it is held to.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

torch.set_num_threads(1)


def alternating(ours: Callable[[], object], theirs: Callable[[], object], steps: int) -> tuple[float, float]:
    """Milliseconds of CPU a call, medians of five blocks."""
    found: tuple[list[float], list[float]] = ([], [])
    for call in (ours, theirs):
        call()
        call()
    for _ in range(5):
        for side, call in zip(found, (ours, theirs), strict=True):
            began = time.process_time()
            for _ in range(steps):
                call()
            side.append(1e3 * (time.process_time() - began) / steps)
    return median(found[0]), median(found[1])


def say(name: str, ours: float, theirs: float, bar: float) -> None:
    print(f"{name}: ours {ours:.3f} ms, other side {theirs:.3f} ms, ratio {ours / theirs:.2f}, bar {bar}", flush=True)


def toy_step(name: str, components: int, hidden: int, batch: int) -> tuple[Callable[[], object], Callable[[], object]]:
    from radiograph.decompose.losses import parse
    from radiograph.decompose.training import Settings, Vectors, frozen, new_state
    from radiograph.decompose.training._loop import step
    from radiograph.organisms.toys import load_toy

    toy = load_toy(f"tms-{name}")
    data = Vectors(toy.recipe.features, 0.05)
    settings = Settings(
        sizes={"w_in": components, "w_out": components},
        losses=("minimality:3e-3,p=1", "recon:1", "recon_layerwise:1"),
        distance="mse",
        batch=batch,
        importance_options={"hidden": hidden},
    )
    frozen(toy.target).__enter__()
    state = new_state(toy.target, data, settings)
    losses = [parse(text) for text in settings.losses]
    return lambda: step(toy.target, data, settings, state, losses), plain_toy(toy.network, components, hidden, batch)


def plain_toy(network: Any, components: int, hidden: int, batch: int) -> Callable[[], object]:
    """The same losses with dense products alone: no hooks, no masks as objects."""
    w_in, w_out, bias = (t.detach() for t in (network.w_in.weight, network.w_out.weight, network.w_out.bias))
    (width, features), generator = w_in.shape, torch.Generator().manual_seed(0)

    def leaf(*shape: int) -> Tensor:
        return (torch.randn(*shape, generator=generator) * 0.3).requires_grad_()

    v1, u1 = leaf(features, components), leaf(components, width)
    v2, u2 = leaf(width, components), leaf(components, features)
    nets = [(leaf(d, hidden), leaf(hidden), leaf(hidden, components), leaf(components)) for d in (features, width)]
    moved = [v1, u1, v2, u2, *(t for net in nets for t in net)]
    optimiser = torch.optim.AdamW(moved, lr=3e-3, weight_decay=0.0, fused=True)

    def squashed(g: Tensor) -> tuple[Tensor, Tensor]:
        upper = torch.minimum(torch.relu(g), 1 + 0.01 * (torch.relu(g) - 1))
        return g.clamp(0, 1) + 0.01 * (g - g.detach()) * (g <= 0), upper

    def product(x: Tensor, w: Tensor, v: Tensor, u: Tensor, m: Tensor, d: Tensor) -> Tensor:
        return (m * (x @ v)) @ u + d[:, None] * (x @ (w.T - v @ u))

    def one() -> None:
        x = torch.rand(batch, features, generator=generator) * (torch.rand(batch, features, generator=generator) < 0.05)
        with torch.no_grad():
            h0 = x @ w_in.T
            y0 = torch.relu(h0 @ w_out.T + bias)
        raw = [nn.functional.gelu(s @ a + b) @ c + e for s, (a, b, c, e) in zip((x, h0), nets, strict=True)]
        (l1, p1), (l2, p2) = (squashed(g) for g in raw)
        loss = 3e-3 * ((p1 + 1e-12).sum() + (p2 + 1e-12).sum()) / batch

        def masks(g: Tensor) -> tuple[Tensor, Tensor]:
            r = torch.rand(batch, components, generator=generator)
            return g + (1 - g) * r, torch.rand(batch, generator=generator)

        h = product(x, w_in, v1, u1, *masks(l1))
        both = torch.relu(product(h, w_out, v2, u2, *masks(l2)) + bias)
        first = torch.relu(product(x, w_in, v1, u1, *masks(l1)) @ w_out.T + bias)
        second = torch.relu(product(h0, w_out, v2, u2, *masks(l2)) + bias)
        loss = loss + nn.functional.mse_loss(both, y0)
        loss = loss + 0.5 * (nn.functional.mse_loss(first, y0) + nn.functional.mse_loss(second, y0))
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()

    return one


def importance(components: int) -> tuple[Callable[[], object], Callable[[], object]]:
    from radiograph.decompose.losses import parse
    from radiograph.decompose.training import Settings, Vectors, new_state
    from radiograph.decompose.training._loop import step
    from radiograph.organisms.toys import load_toy

    toy, found = load_toy("tms-5-2"), []
    data = Vectors(5, 0.05)
    for kind, hidden in (("shared", 64), ("scalar", 16)):
        settings = Settings(
            sizes={"w_in": components, "w_out": components},
            losses=("minimality:3e-3,p=1", "recon:1", "recon_layerwise:1"),
            distance="mse",
            batch=256,
            importance=kind,
            importance_options={"hidden": hidden},
        )
        state, losses = new_state(toy.target, data, settings), [parse(text) for text in settings.losses]
        found.append(lambda s=settings, st=state, ls=losses: step(toy.target, data, s, st, ls))
    return found[0], found[1]


def base(components: int = 192) -> tuple[Any, dict[str, Any], Tensor]:
    from radiograph.models import load
    from radiograph.models.masked import Factors, of_model
    from radiograph.organisms import bundled_path

    target = of_model(load(str(bundled_path("base"))))
    generator = torch.Generator().manual_seed(0)
    parts = {}
    for weight in ("gate.1", "up.1", "down.1"):
        place = target.place(weight)
        reads = torch.randn(place.inputs, components, generator=generator) * place.inputs**-0.5
        parts[weight] = Factors(reads, torch.randn(components, place.outputs, generator=generator) * components**-0.5)
    return target, parts, torch.randint(5, 400, (12, 96), generator=generator)


def forward() -> tuple[Callable[[], object], Callable[[], object]]:
    """Masked forward, ones and Δ, against the target's forward and the components' own products."""
    from radiograph.models.masked import Mask, recorded, run

    target, parts, ids = base()
    ones, lead = torch.ones(192), torch.ones(ids.shape)
    masks = {w: Mask(ones, lead) for w in parts}
    with torch.no_grad(), recorded(target, list(parts)) as record:
        expected = target.run(ids)
        inputs = dict(record.inputs)
    with torch.no_grad():
        assert torch.allclose(run(target, ids, parts, masks), expected, atol=1e-4)

    @torch.no_grad()
    def other() -> None:
        target.run(ids)
        for w, f in parts.items():
            (inputs[w] @ f.reads) @ f.writes

    return torch.no_grad()(lambda: run(target, ids, parts, masks)), other


def lm_scene() -> Any:
    from radiograph.decompose.training import Settings, frozen, new_state, scene_of

    target, _, ids = base()
    frozen(target).__enter__()

    class Data:
        def batch(self, step: int, rows: int) -> Tensor:
            return ids

        held_out = batch

    settings = Settings(
        sizes=dict.fromkeys(("gate.1", "up.1", "down.1"), 192),
        losses=("faithfulness:1e6", "minimality:1e-3", "recon_subset:0.5", "adversarial_recon_subset:0.5"),
        distance="kl",
        batch=12,
    )
    state = new_state(target, Data(), settings)
    return target, Data(), settings, state, lambda: scene_of(target, ids, settings, state)


def adversary(steps: int = 3) -> tuple[Callable[[], object], Callable[[], object]]:
    """The adversarial loss with n ascents and its backward, against n + 2 passes of the masked model."""
    from radiograph.decompose.losses import parse

    *_, make = lm_scene()
    loss = parse(f"adversarial_recon:1,steps={steps},size=0.1")

    def ours() -> None:
        loss.measure(make()).backward()

    def theirs() -> None:
        scene = make()
        r = torch.rand(scene.variables)
        for _ in range(steps + 2):
            scene.mean_distance(scene.output(scene.attacked(r, detached=False))).backward(retain_graph=True)

    return ours, theirs


def main() -> None:
    wanted = sys.argv[1:] or ["5-2", "40-10", "importance", "forward", "adversary"]
    for name in wanted:
        match name:
            case "5-2":
                say("step 5-2", *alternating(*toy_step("5-2", 20, 64, 256), 40), 1.6)
            case "40-10":
                say("step 40-10, C 200", *alternating(*toy_step("40-10", 200, 128, 512), 10), 1.25)
            case "importance":
                say("shared over scalar, C 20", *alternating(*importance(20), 20), 0.75)
                say("shared over scalar, C 200", *alternating(*importance(200), 5), 0.35)
            case "forward":
                say("masked forward", *alternating(*forward(), 5), 1.2)
            case "adversary":
                say("adversarial step, 3 ascents", *alternating(*adversary(), 1), 1.15)
            case _:
                raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
