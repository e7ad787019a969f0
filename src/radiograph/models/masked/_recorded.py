"""What decomposed weights read and write in a forward.

An embedding reads token ids, which say nothing to a network; where vectors are needed its own output row stands for
them (`Record.seen`). Values belong to whatever graph the forward has: run it under `no_grad` for the target's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch import Tensor

from radiograph.models._hooks import products
from radiograph.models.masked._masked import Mask, Parts, masked
from radiograph.models.masked._target import Target


@dataclass(slots=True, eq=False)
class Record:
    """By address: what a weight reads and, for embeddings, writes. Filled anew by every forward."""

    inputs: dict[str, Tensor] = field(default_factory=dict)
    """x, or token ids."""
    outputs: dict[str, Tensor] = field(default_factory=dict)
    """y of lookups, before any mask."""

    def seen(self, address: str) -> Tensor:
        """The vectors from which importance is judged."""
        return self.outputs.get(address, self.inputs.get(address))  # type: ignore[return-value]


@contextmanager
def recorded(target: Target, addresses: Sequence[str]) -> Iterator[Record]:
    """A record that every forward inside the context fills."""
    found = Record()
    before: dict[str, list[str]] = {}
    lookups: dict[str, str] = {}
    for address in addresses:
        place = target.place(address)
        before.setdefault(place.module, []).append(address)
        if place.kind == "lookup":
            lookups[place.module] = address

    def keep(names: Sequence[str]) -> Callable[[Tensor], None]:
        def touch(x: Tensor) -> None:
            for name in names:
                found.inputs[name] = x

        return touch

    def after(name: str) -> Callable[[Tensor, Tensor], None]:
        def touch(_: Tensor, y: Tensor) -> None:
            found.outputs[name] = y

        return touch

    with products(
        target.network,
        {path: keep(names) for path, names in before.items()},
        {path: after(name) for path, name in lookups.items()},
    ):
        yield found


def run(target: Target, inputs: Tensor, parts: Parts | None = None, masks: Mapping[str, Mask] | None = None) -> Tensor:
    """The target's output, under masks where some are given."""
    if not masks:
        return target.run(inputs)
    with masked(target, parts or {}, masks):
        return target.run(inputs)
