"""The parts of a network that are not affine, each made so at the values of one forward.

1. norms: the denominator is a constant; RMSNorm γ⊙x/ρ, LayerNorm γ⊙(x − mean x)/ρ + β. Through a live denominator
   gradient × input cancels itself: such a norm has degree 0
2. pointwise functions a: a(z) = a(0) + z·s with the secant s = (a(z) − a(0))/z, a′(0) where z is near 0
3. what modulates (queries, keys, the gate of an MLP) is cut: a constant on the value path, a leaf of its own for the
   modulating path

Refuses (`not_linear`) a norm that is neither kind or does not agree with its module, and an MLP without a module for
its pointwise function.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from radiograph.core import Refusal
from radiograph.models._model import LanguageModel

_NEAR_ZERO = 1e-6
_AGREES = 1e-3


@dataclass(slots=True, eq=False)
class Fixed:
    """Constants of one forward, by module path. The first forward fills them, later ones read them."""

    denominators: dict[str, Tensor] = field(default_factory=dict)
    gains: dict[str, tuple[Tensor, Tensor | None]] = field(default_factory=dict)
    secants: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """Secant and a(0)."""
    modulators: dict[str, Tensor] = field(default_factory=dict)
    """Values of queries, keys and gates; by weight address, gates by module path."""

    def norm(self, path: str, module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """A norm's output with its denominator fixed."""
        centred = isinstance(module, nn.LayerNorm)
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        moved = wide - wide.mean(-1, keepdim=True) if centred else wide
        if path not in self.denominators:
            epsilon = getattr(module, "variance_epsilon", None) or getattr(module, "eps", None)
            if epsilon is None or getattr(module, "weight", None) is None:
                raise _unknown(path, module)
            self.denominators[path] = (moved.detach().square().mean(-1, keepdim=True) + epsilon).sqrt()
            self.gains[path] = _gain(path, module, (moved / self.denominators[path]).detach(), y.detach())
        gain, bias = self.gains[path]
        new = moved / self.denominators[path] * gain
        return (new if bias is None else new + bias).to(y.dtype)

    def pointwise(self, path: str, module: nn.Module, z: Tensor, y: Tensor) -> Tensor:
        """a(z) along its secant."""
        if path not in self.secants:
            with torch.no_grad():
                # `forward`, not a call: the module's own hook is running.
                at_zero = module.forward(torch.zeros_like(z[..., :1]))
                step = torch.full_like(z[..., :1], 1e-3)
                slope = (module.forward(step) - module.forward(-step)) / (2 * step)
                near = z.abs() < _NEAR_ZERO
                safe = torch.where(near, torch.ones_like(z), z)
                self.secants[path] = torch.where(near, slope, (y - at_zero) / safe).detach(), at_zero
        secant, at_zero = self.secants[path]
        return z * secant + at_zero

    def cut(self, name: str, value: Tensor) -> Tensor:
        """The constant that stands for what modulates."""
        if name not in self.modulators:
            self.modulators[name] = value.detach()
        return self.modulators[name]

    def one(self) -> Fixed:
        """The same for a batch of one row, from a batch of equal rows."""
        return Fixed(
            {path: value[:1] for path, value in self.denominators.items()},
            dict(self.gains),
            {path: (secant[:1], zero[:1]) for path, (secant, zero) in self.secants.items()},
            {name: value[:1] for name, value in self.modulators.items()},
        )


def norms(model: LanguageModel) -> dict[str, nn.Module]:
    """Every norm, by path."""
    return {path: module for path, module in model.model.named_modules() if type(module).__name__.endswith("Norm")}


def pointwise(model: LanguageModel) -> dict[str, nn.Module]:
    """The pointwise function of every MLP, by path.

    Raises:
        Refusal: an MLP without such a module.
    """
    family = model.architecture.family
    found: dict[str, nn.Module] = {}
    for layer in range(model.n_layers):
        path = f"{family.backbone}.{family.blocks}.{layer}.{family.mlp}"
        inside = [
            (f"{path}.{name}", module)
            for name, module in model.model.get_submodule(path).named_modules()
            if name and not any(True for _ in module.parameters()) and not any(True for _ in module.children())
        ]
        own = [(name, module) for name, module in inside if not isinstance(module, nn.Dropout | nn.Identity)]
        if len(own) != 1:
            raise Refusal(
                "not_linear",
                f"the MLP at {path} has {len(own)} pointwise modules",
                expected="one, whose secant can be taken",
                fix="--gradient live needs none; its edges do not add up",
            )
        found.update(own)
    return found


def _gain(path: str, module: nn.Module, unit: Tensor, y: Tensor) -> tuple[Tensor, Tensor | None]:
    """γ and β such that γ⊙unit + β is what the module gave: its weight, or 1 + its weight."""
    stored: Any = module.get_parameter("weight")
    weight = stored.detach().to(unit.dtype)
    held: Any = getattr(module, "bias", None)
    bias = None if held is None else held.detach().to(unit.dtype)
    scale = float(y.abs().max().clamp(min=1.0))
    for gain in (weight, 1 + weight):
        made = unit * gain if bias is None else unit * gain + bias
        if float((made - y).abs().max()) <= _AGREES * scale * (30 if y.dtype != unit.dtype else 1):
            return gain, bias
    raise _unknown(path, module)


def _unknown(path: str, module: nn.Module) -> Refusal:
    return Refusal(
        "not_linear",
        f"the norm {path} ({type(module).__name__}) is neither RMSNorm nor LayerNorm",
        fix="--gradient live needs no known norm; its edges do not add up",
    )
