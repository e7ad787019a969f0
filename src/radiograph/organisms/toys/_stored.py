"""Toys on disk: `toy.json` and `model.safetensors`. The smallest ship with the package, others are made on first use.

Well-formed: every tensor of the recipe, finite; a TMS represents every feature (no column of w_in shorter than .8) and
its w_out is w_inᵀ.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from radiograph.core import FormatError, Progress
from radiograph.models import tensors_sha256
from radiograph.models.masked import Target, of_network
from radiograph.organisms.toys._networks import Superposition
from radiograph.organisms.toys._recipes import RECIPES, ToyRecipe, recipe_of, train_toy

SCHEMA: Final = "radiograph.toy/1"
TENSORS: Final = "model.safetensors"
DOCUMENT: Final = "toy.json"
SHIPPED: Final = Path(__file__).parent.parent / "bundled" / "toys"
SHORTEST: Final = 0.8


@dataclass(frozen=True, eq=False)
class Toy:
    """A toy that is loaded."""

    recipe: ToyRecipe
    network: nn.Module
    sha256: str

    @property
    def target(self) -> Target:
        """As the engine takes it."""
        weights: dict[str, str] = self.network.weights  # pyright: ignore[reportAssignmentType]
        return of_network(self.network, weights, sha256=self.sha256, name=f"bundled:{self.recipe.name}")


def is_toy(reference: str) -> bool:
    """Whether a model reference names a toy."""
    return reference.startswith("bundled:") and reference.removeprefix("bundled:") in RECIPES


def load_toy(name: str, cache: Callable[[], Path] | None = None, progress: Progress | None = None) -> Toy:
    """A toy that ships, or one that is made now and kept in `cache`.

    Raises:
        UserError: no toy of that name. FormatError: its files are not what was written.
    """
    recipe = recipe_of(name)
    folder = SHIPPED / recipe.name
    if not folder.is_dir() and cache is not None:
        folder = cache() / "toys" / recipe.name
    if (folder / DOCUMENT).is_file():
        return read_toy(folder)
    network = train_toy(recipe, progress)
    if cache is not None:
        write_toy(network, recipe, folder)
    return _toy(recipe, network)


def write_toy(network: nn.Module, recipe: ToyRecipe, folder: Path) -> None:
    """Write a toy, whole or not at all."""
    partial = folder.with_name(folder.name + ".partial")
    partial.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().contiguous().clone() for name, tensor in network.state_dict().items()}
    save_file(tensors, partial / TENSORS, metadata={"format": "pt"})
    digest = hashlib.sha256((partial / TENSORS).read_bytes()).hexdigest()
    document = {"schema": SCHEMA, "name": recipe.name, "sha256": digest}
    (partial / DOCUMENT).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    partial.rename(folder)


def read_toy(folder: Path) -> Toy:
    """Read and check what `write_toy` wrote.

    Raises:
        FormatError: not a toy, or not a well-formed one.
    """
    where = str(folder / DOCUMENT)
    try:
        document = json.loads((folder / DOCUMENT).read_text(encoding="utf-8"))
        tensors = load_file(folder / TENSORS)
    except (OSError, ValueError, SafetensorError) as error:
        raise FormatError("not a toy", where=where, got=str(error)) from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise FormatError("not a toy", where=where, expected=SCHEMA)
    if document.get("sha256") != hashlib.sha256((folder / TENSORS).read_bytes()).hexdigest():
        raise FormatError("a toy is not what its hash says", where=str(folder / TENSORS))
    recipe = recipe_of(str(document.get("name")))
    network = recipe.network
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    if {name: tuple(tensor.shape) for name, tensor in tensors.items()} != expected:
        raise FormatError("tensors of a toy", where=str(folder / TENSORS), expected=str(expected))
    network.load_state_dict(tensors)
    check(network, str(folder))
    return _toy(recipe, network.eval())


def check(network: nn.Module, where: str) -> None:
    """Refuse a toy that is not well-formed.

    Raises:
        FormatError: a value that is not finite, a feature that is not represented, matrices that are not one.
    """
    for name, tensor in network.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise FormatError(f"{name} is not finite", where=where)
    if isinstance(network, Superposition):
        lengths = network.w_in.weight.detach().norm(dim=0)
        if float(lengths.min()) < SHORTEST:
            raise FormatError(
                "a toy does not represent every feature",
                where=where,
                expected=f"columns of length {SHORTEST} or more",
                got=f"{float(lengths.min()):.3f} for feature {int(lengths.argmin())}",
            )
        if not torch.equal(network.w_out.weight, network.w_in.weight.T):
            raise FormatError("w_out of a toy is not the transpose of w_in", where=where)


def _toy(recipe: ToyRecipe, network: nn.Module) -> Toy:
    return Toy(recipe, network, tensors_sha256(dict(network.state_dict())))
