"""Graphs of a prompt on `decomposition:bundled`, all 22 matrices, beside bare passes of the same prompt.

    python bench/decompose/graphs.py [edges] [optimise] [adversary] [forward]

`edges`: 32 targets pulled together against 32 bare backward passes to the embeddings. `optimise`: a step without and
with six ascents against a forward and backward pass of the prompt. `adversary`: an attack of six ascents and the loss
at its result against eight passes of the masked model. `forward`: all masks 1 and Δ 1 against the target and the
components' own products. Both sides in one process, alternating, CPU seconds, medians of five blocks; where both
compute the same thing their outputs are compared first. Prints both sides, the ratio, and the bar that it is held to.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from step import alternating, say

TEXT = "Tom had a red kite. Lily had a grey bear. Tom was very warm."
TARGETS, ASCENTS, STEPS = 32, 6, 4
Sides = tuple[Callable[[], object], Callable[[], object]]


def opened() -> tuple[Any, Any]:
    from radiograph.decompose import load
    from radiograph.decompose.circuits import Prompt, context_of
    from radiograph.models import load as load_model
    from radiograph.models import prompt_ids
    from radiograph.models.masked import of_model
    from radiograph.organisms import bundled_decomposition, bundled_path

    model = load_model(str(bundled_path("base")))
    folder = bundled_decomposition("bundled")
    assert folder is not None
    prompt = Prompt.of(of_model(model), load(folder), prompt_ids(model.tokenizer, TEXT))
    return prompt, context_of(prompt, "ce")


def bare(prompt: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings as a leaf, and the model's logits from them."""
    network = prompt.target.network
    leaf = network.get_input_embeddings()(prompt.ids[None]).detach().requires_grad_()
    return leaf, network(inputs_embeds=leaf).logits[0]


def edges(prompt: Any) -> Sides:
    from radiograph.decompose.circuits._graph import LOGITS
    from radiograph.models.linearised import Aim, Linearised

    directions = torch.eye(prompt.logits.shape[-1])[prompt.logits[-1].topk(TARGETS).indices]
    aims = [Aim(LOGITS, prompt.length - 1, direction=direction) for direction in directions]
    factors = prompt.decomposition.factors
    together = Linearised.of(prompt.target, factors, prompt.ids, copies=TARGETS)
    alone = Linearised.of(prompt.target, factors, prompt.ids, copies=1)
    one, all_of_them = alone.pull(aims[:1])[0], together.pull(aims)[0]
    for weight, found in one.components.items():
        torch.testing.assert_close(found[0], all_of_them.components[weight][0], atol=1e-5, rtol=1e-4)
    leaf, logits = bare(prompt)
    torch.testing.assert_close(logits, prompt.logits, atol=1e-4, rtol=1e-4)

    def theirs() -> None:
        for direction in directions:
            torch.autograd.grad(logits[-1] @ direction, leaf, retain_graph=True)

    return lambda: together.pull(aims), theirs


def searching(prompt: Any, context: Any, weight: float) -> Sides:
    from radiograph.decompose.adversary import Attack
    from radiograph.decompose.circuits import Settings, optimise

    how = Attack(random=1, starts=1, steps=ASCENTS, size=0.4)
    settings = Settings(adversary_weight=weight, steps=STEPS, attack=how)
    start = optimise(prompt, context, Settings(adversary_weight=0.0, steps=0), seed=0)
    assert torch.equal(start.importance[0], prompt.importance)

    def theirs() -> None:
        for _ in range(STEPS + 1):
            _, logits = bare(prompt)
            context.loss(logits[None]).sum().backward()

    return lambda: optimise(prompt, context, settings, seed=0), theirs


def attacking(prompt: Any, context: Any) -> Sides:
    from radiograph.decompose.adversary import Attack, attack
    from radiograph.decompose.masks import mixed

    g, shape = prompt.importance, prompt.alive.shape
    how = Attack(random=1, starts=1, steps=ASCENTS, size=0.4)

    def loss(points: torch.Tensor) -> torch.Tensor:
        return context.loss(prompt.run(mixed(g[None], points.view(-1, *shape)), None))

    def ours() -> None:
        point = attack(loss, g.numel(), how, torch.Generator().manual_seed(0), like=g).point
        loss(point[None].detach().requires_grad_()).sum().backward()

    def theirs() -> None:
        for _ in range(ASCENTS + 2):
            points = torch.rand(1, g.numel(), requires_grad=True)
            loss(points).sum().backward()

    return ours, theirs


def forward(prompt: Any) -> Sides:
    from radiograph.models.masked import recorded

    factors, ids = prompt.decomposition.factors, prompt.ids[None]
    ones = torch.ones(1, *prompt.alive.shape)
    lead = torch.ones(1, prompt.length, len(factors))
    with torch.no_grad(), recorded(prompt.target, list(factors)) as record:
        prompt.target.run(ids)
        inputs = dict(record.inputs)
    with torch.no_grad():
        torch.testing.assert_close(prompt.run(ones, lead)[0], prompt.logits, atol=1e-4, rtol=1e-4)

    @torch.no_grad()
    def other() -> None:
        prompt.target.run(ids)
        for weight, own in factors.items():
            own.activations(inputs[weight]) @ own.writes

    return torch.no_grad()(lambda: prompt.run(ones, lead)), other


def main() -> None:
    prompt, context = opened()
    print(
        f"{prompt.length} tokens, {prompt.alive.shape[1]} components, {int(prompt.alive.sum())} alive nodes", flush=True
    )
    for name in sys.argv[1:] or ["edges", "optimise", "adversary", "forward"]:
        match name:
            case "edges":
                say(f"edges of {TARGETS} targets", *alternating(*edges(prompt), 1), 1.3)
            case "optimise":
                say("steps of optimise, no adversary", *alternating(*searching(prompt, context, 0.0), 1), 1.3)
                bar = 1.3 * (ASCENTS + 2)
                say(f"… with {ASCENTS} ascents", *alternating(*searching(prompt, context, 3.0), 1), bar)
            case "adversary":
                say(f"attack of {ASCENTS} ascents", *alternating(*attacking(prompt, context), 1), 1.15)
            case "forward":
                say("masked forward", *alternating(*forward(prompt), 5), 1.2)
            case _:
                raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
