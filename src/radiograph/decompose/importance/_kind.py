"""Causal importance functions: from the target's own activations to one raw number per component.

A kind is a module of this folder, or what another package registers under the entry point `radiograph.importances`:
`OPTIONS` (its sizes with their defaults), `tensors(sizes, options, generator)` and `raw(tensors, seen, h)`. Keys of
tensors are `WEIGHT/NAME`, or `NAME` where they serve all weights. `seen` is what a weight reads (of an embedding, what
it writes), divided by its size on the first batch, `WEIGHT/scale`; `h` is the components' own activations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, cast

import torch
from torch import Tensor

from radiograph.core import UserError, nearest, plugins
from radiograph.core.shapes import Float

GROUP: Final = "radiograph.importances"
_CALLS: Final = ("tensors(sizes, options, generator)", "raw(tensors, seen, h)")
Values = Mapping[str, Float[Tensor, "..."]]
Options = dict[str, float | int | str]


@dataclass(frozen=True, slots=True)
class Size:
    """Of one weight."""

    seen: int
    """Width of what importance is judged from."""
    components: int


class Kind(Protocol):
    """What a module of a kind offers."""

    OPTIONS: Options

    def tensors(self, sizes: Mapping[str, Size], options: Options, generator: torch.Generator) -> dict[str, Tensor]:
        """Fresh tensors."""
        ...

    def raw(self, tensors: Mapping[str, Tensor], seen: Values, h: Values) -> dict[str, Tensor]:
        """Raw importance of every weight."""
        ...


@dataclass(frozen=True, eq=False)
class Importance:
    """A kind with its tensors."""

    name: str
    options: Options
    tensors: dict[str, Tensor]
    kind: Kind = field(repr=False)

    def raw(self, seen: Values, h: Values) -> dict[str, Tensor]:
        """Raw importance of every weight, [..., component]."""
        return self.kind.raw(self.tensors, seen, h)

    @property
    def trained(self) -> dict[str, Tensor]:
        """The tensors that training moves."""
        return {name: t for name, t in self.tensors.items() if not name.endswith("scale")}


def names() -> list[str]:
    """Every kind."""
    return [name.rstrip("_") for name in _known()]


def kind_of(name: str) -> Kind:
    """A kind by name.

    Raises:
        UserError: unknown, with the nearest names.
    """
    known = _known()
    found = known.get(name) or known.get(f"{name}_")
    if found is None:
        close = nearest(name, names())
        raise UserError(
            f"no importance function {name!r}",
            expected=", ".join(names()),
            fix=f"did you mean {', '.join(close)}?" if close else None,
            code="unknown_importance",
        )
    return cast(Kind, found())


def new(
    name: str, options: Options, sizes: Mapping[str, Size], generator: torch.Generator, scales: Mapping[str, float]
) -> Importance:
    """A fresh importance function.

    Raises:
        UserError: an unknown kind or option.
    """
    kind = kind_of(name)
    full = settled(name, options)
    tensors = kind.tensors(sizes, full, generator)
    for weight in sizes:
        tensors[f"{weight}/scale"] = torch.tensor(float(scales.get(weight, 1.0)))
    return Importance(name, full, tensors, kind)


def settled(name: str, options: Mapping[str, Any]) -> Options:
    """The options of a kind with its defaults filled in.

    Raises:
        UserError: an option that the kind has not, or a value that is not like its default.
    """
    defaults = kind_of(name).OPTIONS
    for key, value in options.items():
        if key not in defaults:
            close = nearest(key, list(defaults))
            raise UserError(
                f"importance {name} has no option {key!r}",
                expected=", ".join(defaults) or "no options",
                fix=f"did you mean {', '.join(close)}?" if close else None,
                code="unknown_option",
            )
        if isinstance(defaults[key], int) and not (isinstance(value, int) and value >= 1):
            raise UserError(f"importance {name}: {key}", expected="a whole number from 1", got=repr(value))
    return defaults | dict(options)


def stacked(tensors: Mapping[str, Tensor], weight: str, seen: Values) -> Tensor:
    """What a weight reads, brought to size 1."""
    return seen[weight] * tensors[f"{weight}/scale"].to(seen[weight].dtype)


def uniform(generator: torch.Generator, *shape: int, fan: int) -> Tensor:
    """The start that linear layers have: U(−1/√fan, 1/√fan)."""
    return (torch.rand(shape, generator=generator) * 2.0 - 1.0) * fan**-0.5


def _known() -> dict[str, Callable[[], Any]]:
    return plugins(f"{__name__.rpartition('.')[0]}", GROUP, "importance function", _CALLS)
