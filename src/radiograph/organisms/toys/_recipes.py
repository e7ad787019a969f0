"""How each toy is made, and what is known of it.

TMS: features active with probability .05 from U[0, 1], AdamW 5e-3 decay .01, 10,000 steps of 2,048 rows, linear decay
of the rate over the last tenth. Residual MLP: .01 from U[−1, 1], label x + ReLU(x), AdamW 3e-3 cosine, 1,000 steps
(three blocks 10,000). Equal seeds give equal bytes on one machine with the same versions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn

from radiograph.core import Progress, Silent, UserError, derive, nearest
from radiograph.organisms.toys._networks import ResidualMLP, Superposition

Pattern = Literal["identity", "dense"]


@dataclass(frozen=True, slots=True)
class Known:
    """What a perfect decomposition of one weight looks like: how many parts, and how inputs and parts pair.

    `identity`: part j for feature j alone, its column known. `dense`: `parts` parts that serve all features.
    """

    parts: int
    pattern: Pattern = "identity"
    fewest: int | None = None
    """Where the number is not identified, the fewest parts of equal loss."""


@dataclass(frozen=True, slots=True)
class ToyRecipe:
    """A toy and its truth."""

    name: str
    kind: Literal["tms", "residual"]
    features: int
    width: int
    hidden: int = 0
    """Identity layers of a TMS, blocks of a residual MLP."""
    neurons: int = 0
    steps: int = 10_000
    rows: int = 2048
    learning_rate: float = 5e-3
    weight_decay: float = 0.01
    probability: float = 0.05
    low: float = 0.0
    seed: int = 0

    @property
    def network(self) -> Superposition | ResidualMLP:
        """The network, untrained."""
        if self.kind == "tms":
            return Superposition(self.features, self.width, self.hidden)
        return ResidualMLP(self.features, self.width, self.neurons, self.hidden)

    @property
    def known(self) -> dict[str, Known]:
        """By weight."""
        if self.kind == "residual":
            share = self.neurons // 2
            return {f"up.{i}": Known(self.features) for i in range(self.hidden)} | {
                f"down.{i}": Known(share, "dense") for i in range(self.hidden)
            }
        opposite = self.features // 2 if self.name == "tms-10-5" else None
        found = {"w_in": Known(self.features, fewest=opposite)}
        found |= {f"hidden.{i}": Known(self.width, "dense") for i in range(self.hidden)}
        return found | {"w_out": Known(self.features)}


RECIPES: Final[Mapping[str, ToyRecipe]] = MappingProxyType(
    {
        recipe.name: recipe
        for recipe in (
            ToyRecipe("tms-5-2", "tms", 5, 2),
            ToyRecipe("tms-5-2-identity", "tms", 5, 2, 1),
            ToyRecipe("tms-10-5", "tms", 10, 5),
            ToyRecipe("tms-40-10", "tms", 40, 10),
            ToyRecipe("tms-40-10-identity", "tms", 40, 10, 1),
            *(
                ToyRecipe(
                    f"resid-mlp-{blocks}",
                    "residual",
                    features=100 if blocks < 3 else 102,
                    width=1000,
                    hidden=blocks,
                    neurons={1: 100, 2: 50, 3: 34}[blocks],
                    steps=10_000 if blocks == 3 else 1_000,
                    learning_rate=3e-3,
                    probability=0.01,
                    low=-1.0,
                )
                for blocks in (1, 2, 3)
            ),
        )
    }
)


def recipe_of(name: str) -> ToyRecipe:
    """A recipe by name, `bundled:` before it or not.

    Raises:
        UserError: no toy of that name.
    """
    plain = name.removeprefix("bundled:")
    if plain not in RECIPES:
        close = nearest(plain, list(RECIPES))
        raise UserError(
            f"no toy is called {plain!r}",
            expected=", ".join(RECIPES),
            fix=f"did you mean {', '.join(close)}?" if close else None,
            code="model_not_found",
        )
    return RECIPES[plain]


def inputs(recipe: ToyRecipe, rows: int, generator: torch.Generator) -> Tensor:
    """Sparse features."""
    u = torch.rand((2, rows, recipe.features), generator=generator)
    return (recipe.low + (1.0 - recipe.low) * u[0]) * (u[1] < recipe.probability)


def train_toy(recipe: ToyRecipe, progress: Progress | None = None) -> nn.Module:
    """Train a toy from nothing."""
    generator = torch.Generator().manual_seed(derive(recipe.seed, "toy", recipe.name))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(derive(recipe.seed, "toy", recipe.name, "weights"))
        network = recipe.network
    moved = _tied(network, generator) if isinstance(network, Superposition) else _fixed(network, generator)
    optimiser = torch.optim.AdamW(moved, recipe.learning_rate, weight_decay=recipe.weight_decay)
    with (progress or Silent()).task(f"training {recipe.name}", recipe.steps) as task:
        for step in range(recipe.steps):
            share = step / recipe.steps
            linear = min(1.0, 10.0 * (1.0 - share))
            factor = linear if recipe.kind == "tms" else 0.5 * (1.0 + math.cos(math.pi * share))
            for group in optimiser.param_groups:
                group["lr"] = recipe.learning_rate * factor
            x = inputs(recipe, recipe.rows, generator)
            wanted = x if recipe.kind == "tms" else x + torch.relu(x)
            loss = nn.functional.mse_loss(_forward(network, x), wanted)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            task.advance()
    if isinstance(network, Superposition):
        with torch.no_grad():
            network.w_out.weight.copy_(network.w_in.weight.T)
    return network.eval()


def _forward(network: nn.Module, x: Tensor) -> Tensor:
    """A TMS is trained with its two matrices one; hidden layers are the identity."""
    if isinstance(network, Superposition):
        matrix = network.w_in.weight
        return torch.relu(x @ matrix.T @ matrix + network.w_out.bias)
    return network(x)


def _tied(network: Superposition, generator: torch.Generator) -> list[Any]:
    nn.init.xavier_normal_(network.w_in.weight, generator=generator)
    nn.init.zeros_(network.w_out.bias)
    return [network.w_in.weight, network.w_out.bias]


def _fixed(network: ResidualMLP, generator: torch.Generator) -> list[Any]:
    drawn = torch.randn(network.embedding.shape, generator=generator)
    network.embedding.copy_(drawn / drawn.norm(dim=1, keepdim=True))
    return list(network.parameters())


def directions(recipe: ToyRecipe, network: nn.Module, weight: str) -> tuple[Tensor, Literal["input", "output"]] | None:
    """The directions by which a feature's column of a weight is read, and on which side; None where none is known."""
    if recipe.kind == "tms":
        if weight.startswith("hidden"):
            return None
        return torch.eye(recipe.features), "input" if weight == "w_in" else "output"
    return (network.get_buffer("embedding"), "input") if weight.startswith("up") else None
