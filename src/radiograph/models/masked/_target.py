"""Which matrix product of a network an address means.

1. a place is a module, how it multiplies (linear, transposed, lookup, inserted identity), and which of its output
   columns belong to the address: fused matrices are addressed by their parts
2. `Target.matrix` gives every weight as [output, input], whatever the file holds; an embedding is [width, token]
3. an inserted identity stands in front of a module and acts on what that module alone reads

Refuses: an address that the network has not (the nearest are named), a quantised matrix, a module that an adapter
wraps (its product is not that of one matrix), an identity in front of a fused matrix or a lookup.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from radiograph.core import UserError, nearest
from radiograph.core.components import canonical_weight, in_order
from radiograph.core.shapes import Float
from radiograph.models._model import LanguageModel

Multiplies = Literal["linear", "lookup", "identity"]
IDENTITY = "identity."


@dataclass(frozen=True, slots=True)
class Place:
    """One matrix product. `groups`, `start`, `stop` say which output columns are meant (see `WeightAddress`)."""

    address: str
    module: str
    kind: Multiplies
    inputs: int
    outputs: int
    parameter: str
    """Name of the stored tensor: two places with one are tied."""
    transposed: bool = False
    groups: int = 1
    start: int = 0
    stop: int | None = None
    whole: bool = True
    """Whether the module multiplies by nothing else."""
    scale: float = 1.0
    """What a lookup multiplies its rows by (Gemma)."""

    def part(self, values: Tensor) -> Tensor:
        """The columns of a module's output (or the entries of its bias) that belong to this address."""
        if self.whole:
            return values
        if self.groups == 1:
            return values[..., self.start : self.stop]
        grouped = values.unflatten(-1, (self.groups, -1))[..., self.start : self.stop]
        return grouped.flatten(-2)

    def put(self, values: Tensor, part: Tensor) -> Tensor:
        """The module's output with these columns replaced."""
        if self.whole:
            return part
        values = values.clone()
        if self.groups == 1:
            values[..., self.start : self.stop] = part
        else:
            values.unflatten(-1, (self.groups, -1))[..., self.start : self.stop] = part.unflatten(-1, (self.groups, -1))
        return values


@dataclass(frozen=True, eq=False)
class Target:
    """A network and the places of its weights.

    Attributes:
        network: in evaluation mode; frozen while it is decomposed.
        places: every address, in forward order.
        sha256: hash of its tensors.
        name: how it is called in what is stored.
        tokens: whether inputs are token ids [batch, position]; else they are vectors [batch, width].
        model: the language model behind it, if it is one.
    """

    network: nn.Module
    places: Mapping[str, Place]
    sha256: str
    name: str
    tokens: bool
    model: LanguageModel | None = None
    call: Callable[[nn.Module, Tensor], Tensor] = field(default=lambda network, inputs: network(inputs))

    def run(self, inputs: Tensor) -> Tensor:
        """Logits [batch, position, vocabulary], or outputs [batch, width], under whatever masks are on."""
        with self.session():
            return self.call(self.network, inputs)

    @contextmanager
    def session(self) -> Iterator[None]:
        """The network for this thread alone."""
        with self.model.session() if self.model is not None else nullcontext():
            yield

    def place(self, address: str) -> Place:
        """The place of an address or alias, an inserted identity included.

        Raises:
            UserError: the network has no such weight (`unknown_weight`), or no identity can stand there.
        """
        if address in self.places:
            return self.places[address]
        address = canonical_weight(address)
        if address in self.places:
            return self.places[address]
        inner = address.removeprefix(IDENTITY)
        if inner == address or inner not in self.places:
            close = nearest(address, list(self.places))
            raise UserError(
                f"{self.name} has no weight {address}",
                expected="one of " + ", ".join(self.places),
                fix=f"did you mean {', '.join(close)}?" if close else None,
                code="unknown_weight",
            )
        behind = self.places[inner]
        if behind.kind != "linear" or not behind.whole:
            raise UserError(
                f"no identity can stand in front of {inner}",
                expected="a weight that alone reads its input",
                got="a lookup" if behind.kind == "lookup" else f"a part of the fused {behind.module}",
                code="unknown_weight",
            )
        width = behind.inputs
        return Place(address, behind.module, "identity", width, width, f"{IDENTITY}{behind.parameter}")

    def matrix(self, address: str) -> Float[Tensor, "output input"]:
        """The weight, in its own type, detached."""
        place = self.place(address)
        module = self.network.get_submodule(place.module)
        stored = module.get_parameter("weight").detach()
        if place.kind == "identity":
            return torch.eye(place.inputs, dtype=stored.dtype, device=stored.device)
        if place.kind == "lookup":
            return stored.T
        rows = (stored if place.transposed else stored.T).contiguous()  # [input, output] of the whole module
        return place.part(rows).T

    def bias(self, address: str) -> Float[Tensor, " output"] | None:
        """The bias that the product adds, if any; it is copied, never decomposed."""
        place = self.place(address)
        if place.kind != "linear":
            return None
        bias = getattr(self.network.get_submodule(place.module), "bias", None)
        return None if bias is None else place.part(bias.detach())

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.network.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """What the weights are stored in while running."""
        return next(self.network.parameters()).dtype


def of_model(model: LanguageModel, *, adapted: bool = False) -> Target:
    """The target that a language model is. `adapted`: an adapter may be on; `matrix` is then the base's alone.

    Raises:
        UserError: an unknown architecture, a quantised matrix, or an adapter that is on.
    """
    _ = model.architecture
    if model.adapter_on and not adapted:
        raise UserError(
            f"{model.ref} has an adapter: its products are not those of one matrix",
            expected="a model of plain matrices",
            fix="bake the adapter into the weights first",
            code="adapter_on",
        )
    paths = {id(module): path for path, module in model.model.named_modules()}
    head = model.model.get_output_embeddings()
    places: dict[str, Place] = {}
    for address, weight in model.weights.items():
        path = weight.parameter.removesuffix(".weight")
        if address == "unembed" and head is not None:
            path = paths[id(head)]
        module = model.model.get_submodule(path)
        stored = module.get_parameter("weight")
        if not stored.is_floating_point():
            raise UserError(
                f"{address} is quantised",
                expected="a matrix of floating-point numbers",
                got=f"{weight.parameter} of {stored.dtype}",
                code="quantised_weight",
            )
        lookup = isinstance(module, nn.Embedding)
        outputs, inputs = weight.shape[::-1] if lookup else weight.shape
        whole = lookup or outputs == (stored.shape[1] if weight.transposed else stored.shape[0])
        kind: Multiplies = "lookup" if lookup else "linear"
        places[address] = Place(
            address,
            path,
            kind,
            inputs,
            outputs,
            weight.parameter,
            weight.transposed,
            weight.groups,
            weight.start,
            weight.stop,
            whole,
            float(getattr(module, "embed_scale", 1.0)) if lookup else 1.0,
        )
    return Target(
        model.model,
        {address: places[address] for address in in_order(places)},
        model.identity.tensors_sha256,
        str(model.ref),
        tokens=True,
        model=model,
        call=_logits,
    )


def of_network(network: nn.Module, weights: Mapping[str, str], *, sha256: str, name: str) -> Target:
    """The target that a network of `nn.Linear` modules is; `weights` is address to module path."""
    places: dict[str, Place] = {}
    for address in in_order(dict(weights)):
        module = network.get_submodule(weights[address])
        assert isinstance(module, nn.Linear)
        parameter = f"{weights[address]}.weight"
        places[address] = Place(address, weights[address], "linear", module.in_features, module.out_features, parameter)
    return Target(network.eval(), places, sha256, name, tokens=False)


def _logits(network: nn.Module, inputs: Tensor) -> Any:
    return network(input_ids=inputs, use_cache=False).logits
