"""Losses as plug-ins: `NAME:WEIGHT[,key=value]`.

A loss is a module of this folder, or what another package registers under the entry point `radiograph.losses`:
`OPTIONS` (names with defaults) and `measure(scene, options) -> scalar tensor`; one that learns between steps has
`after(scene, options)` too, called when gradients are there. `NAME_layerwise` and `NAME_subset` are NAME with that
router, where NAME has one. A loss names a mask source and knows no other loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

from torch import Tensor

from radiograph.core import UserError, nearest, plugins
from radiograph.decompose._scene import Scene

GROUP: Final = "radiograph.losses"
VARIANTS: Final = ("layerwise", "subset")
Option = float | int | str


class LossKind(Protocol):
    """What a module of a loss offers."""

    OPTIONS: dict[str, Option]

    def measure(self, scene: Scene, options: Mapping[str, Any]) -> Tensor:
        """The loss of one batch."""
        ...


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss with its weight and options."""

    name: str
    """As it was asked for."""
    weight: float
    options: dict[str, Option]
    kind: LossKind

    def measure(self, scene: Scene) -> Tensor:
        """Of one batch, without the weight."""
        return self.kind.measure(scene, self.options)

    def after(self, scene: Scene) -> None:
        """What it learns between steps."""
        learn = getattr(self.kind, "after", None)
        if learn is not None:
            learn(scene, self.options)

    @property
    def record(self) -> dict[str, Option]:
        """As it stands in a document."""
        return {"weight": self.weight, **self.options}


def names() -> list[str]:
    """Every loss, variants included."""
    found: list[str] = []
    for name, load in _known().items():
        found.append(name)
        if "router" in load().OPTIONS:
            found += [f"{name}_{variant}" for variant in VARIANTS]
    return found


def kind_of(name: str) -> tuple[LossKind, dict[str, Option]]:
    """A loss by name, and what its name says of its options.

    Raises:
        UserError: unknown, with the nearest names.
    """
    known = _known()
    if name in known:
        return cast(LossKind, known[name]()), {}
    base, _, variant = name.rpartition("_")
    if variant in VARIANTS and base in known and "router" in known[base]().OPTIONS:
        return cast(LossKind, known[base]()), {"router": variant}
    close = nearest(name, names())
    raise UserError(
        f"no loss {name!r}",
        expected=", ".join(names()),
        fix=f"did you mean {', '.join(close)}?" if close else None,
        code="unknown_loss",
    )


def parse(text: str) -> Loss:
    """Read `NAME:WEIGHT[,key=value]`.

    Raises:
        UserError: an unknown loss or option, or a value that is not like its default.
    """
    head, *pairs = text.split(",")
    name, colon, number = head.partition(":")
    kind, implied = kind_of(name.strip())
    options = kind.OPTIONS | implied
    weight = _number(number, f"loss {text!r}: weight") if colon else 1.0
    for pair in pairs:
        key, equals, value = (part.strip() for part in pair.partition("="))
        if key not in options or not equals:
            close = nearest(key, list(options))
            raise UserError(
                f"loss {name} has no option {key!r}",
                expected=", ".join(options) or "no options",
                fix=f"did you mean {', '.join(close)}?" if close else "write key=value",
                code="unknown_option",
            )
        like = options[key]
        if isinstance(like, str):
            options[key] = value
        else:
            read = _number(value, f"loss {name}: {key}")
            options[key] = int(read) if isinstance(like, int) and read == int(read) else read
    return Loss(name.strip(), weight, options, kind)


def _number(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0.0 <= value < float("inf"):
        raise UserError(what, expected="a number from 0", got=repr(text), code="bad_value")
    return value


def _known() -> dict[str, Callable[[], Any]]:
    return plugins(f"{__name__.rpartition('.')[0]}", GROUP, "loss", ("measure(scene, options)",))
