"""Edges of a prompt: what each source adds to each target, on the model with norms, patterns and gates fixed.

1. every decomposed weight is cut: its activations h and its Δ output become leaves, and so do token and position
   embeddings; what reads the residual stream then sees leaves alone   2. norms, pointwise functions and modulators are
   fixed (`_fixed`), so that h of any component is affine in the leaves:  h_t = bias_t + Σ_s (∂h_t/∂s)·s
3. one vector-Jacobian product a target gives all its edges; the prompt stands `copies` times in a batch, so that one
   backward pass serves as many targets   4. modulating edges: the gradient by queries, keys and gates, carried on to
   the leaves that they are made of, times leaf values; no part of the sum   5. bias_t: the same forward, leaves all 0

`live` leaves everything as it is: plain gradient × input, and no sum. Units: those of h, and logits (before a cap).
Source: circuit-tracer; attribution on weight components.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from radiograph.core.shapes import Float, Shaped
from radiograph.models._hooks import products
from radiograph.models._model import LanguageModel
from radiograph.models.linearised._fixed import Fixed, norms, pointwise
from radiograph.models.masked import Factors, Parts, Place, Target

LOGITS = "logits"


@dataclass(slots=True, eq=False)
class Leaves:
    """Values at the cuts. By weight: components [batch, position, component], Δ output [batch, position, output]."""

    components: dict[str, Tensor] = field(default_factory=dict)
    delta: dict[str, Tensor] = field(default_factory=dict)
    embedded: dict[str, Tensor] = field(default_factory=dict)
    """`token` and `position` embeddings [batch, position, width], where they are not decomposed themselves."""

    def all(self) -> list[Tensor]:
        """Every leaf."""
        return [*self.components.values(), *self.delta.values(), *self.embedded.values()]

    def like(self, change: Callable[[Tensor], Tensor]) -> Leaves:
        """The same places, other values."""
        return Leaves(
            *({k: change(v) for k, v in part.items()} for part in (self.components, self.delta, self.embedded))
        )


@dataclass(frozen=True, slots=True, eq=False)
class Aim:
    """A target: a component of a weight at a position, or a direction of logits there."""

    weight: str
    position: int
    index: int = -1
    direction: Float[Tensor, " vocabulary"] | None = None
    """Of `LOGITS`: the sum of logits that is meant."""


@dataclass(frozen=True, slots=True, eq=False)
class Pulled:
    """Edges into some targets, one row each: of components by weight, of Δ by weight, of embeddings."""

    components: dict[str, Float[Tensor, "target position component"]]
    delta: dict[str, Float[Tensor, "target position"]]
    embedded: dict[str, Float[Tensor, "target position"]]


class Linearised:
    """One prompt, cut and fixed. Build it with `of`; keep it while targets are pulled."""

    def __init__(
        self, target: Target, parts: Parts, ids: Shaped[Tensor, "*batch position"], copies: int, live: bool
    ) -> None:
        model = target.model
        assert model is not None or live, "of another network nothing is known that could be fixed"
        self._target, self._parts, self._ids, self._model = target, parts, ids, model
        self._live, self.copies = live, copies
        self._norms = {} if live or model is None else norms(model)
        self._pointwise = {} if live or model is None else pointwise(model)
        self._gated = model is not None and any(kind == "gate" for kind in model.architecture.family.weights)
        self._fixed = Fixed()
        with torch.enable_grad():
            self._first = self._pass(self._fixed, copies, None)

    @classmethod
    def of(
        cls,
        target: Target,
        parts: Parts,
        ids: Shaped[Tensor, "*batch position"],
        *,
        copies: int = 1,
        live: bool = False,
    ) -> Linearised:
        """Run the target once on a prompt, cut at the weights of `parts`; or on a batch of prompts, without copies.

        Raises:
            Refusal: a part that cannot be made affine (`not_linear`).
        """
        return cls(target, parts, ids, len(ids) if ids.ndim == 2 else copies, live)

    @property
    def leaves(self) -> Leaves:
        """Values at the cuts, with a batch of one."""
        return self._first.leaves.like(lambda leaf: leaf.detach()[:1].clone())

    @property
    def activations(self) -> dict[str, Float[Tensor, "position component"]]:
        """Of every decomposed weight, h as the target computes it."""
        return {weight: h.detach()[0] for weight, h in self._first.h.items()}

    @property
    def logits(self) -> Float[Tensor, "position vocabulary"]:
        """The target's logits, before a cap."""
        return self._first.logits.detach()[0]

    def value(self, aim: Aim) -> float:
        """The h of a target, or its sum of logits."""
        return float(self._aimed(self._first, aim, 0).detach())

    def pull(self, aims: Sequence[Aim]) -> tuple[Pulled, Pulled]:
        """Value and modulating edges into at most `copies` targets."""
        assert 0 < len(aims) <= self.copies
        first = self._first
        value, modulating = self.into(torch.stack([self._aimed(first, aim, row) for row, aim in enumerate(aims)]).sum())
        return self._edges(value, len(aims)), self._edges(modulating, len(aims))

    @property
    def live_activations(self) -> dict[str, Float[Tensor, "batch ... component"]]:
        """Of every decomposed weight, h with its graph to the leaves: what `into` takes sums of."""
        return self._first.h

    @property
    def read(self) -> Float[Tensor, "batch ... width"]:
        """What the unembedding reads, with its graph."""
        return self._first.read

    @property
    def met(self) -> Leaves:
        """The leaves themselves, a row a prompt."""
        return self._first.leaves

    def into(self, goal: Float[Tensor, ""]) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Gradients of a number made of `live_activations` and `read` by every leaf, and through modulators."""
        first = self._first
        leaves, cuts = first.leaves.all(), first.cuts
        if not goal.requires_grad:
            nothing = [torch.zeros_like(leaf) for leaf in leaves]
            return nothing, nothing
        found = torch.autograd.grad(
            goal, [*leaves, *(cut for cut, _ in cuts)], retain_graph=True, allow_unused=True, materialize_grads=True
        )
        value, by_cut = found[: len(leaves)], found[len(leaves) :]
        ends = [(live, g) for (_, live), g in zip(cuts, by_cut, strict=True) if live.requires_grad and bool(g.any())]
        if ends:
            modulating = torch.autograd.grad(
                [live for live, _ in ends],
                leaves,
                [g for _, g in ends],
                retain_graph=True,
                allow_unused=True,
                materialize_grads=True,
            )
        else:
            modulating = tuple(torch.zeros_like(leaf) for leaf in leaves)
        return value, modulating

    def at(self, leaves: Leaves) -> tuple[dict[str, Tensor], Tensor]:
        """The h of every weight, and logits, of the affine model at other values of its leaves."""
        assert not self._live, "a live model is not affine"
        with torch.no_grad():
            other = self._pass(self._fixed.one(), 1, leaves)
        return {weight: h[0] for weight, h in other.h.items()}, other.logits[0]

    def bias(self) -> tuple[dict[str, Float[Tensor, "position component"]], Float[Tensor, "position vocabulary"]]:
        """What h and logits are where every leaf is 0."""
        return self.at(self.leaves.like(torch.zeros_like))

    def _edges(self, gradients: Sequence[Tensor], rows: int) -> Pulled:
        leaves = self._first.leaves
        edges = [(g * leaf.detach())[:rows] for g, leaf in zip(gradients, leaves.all(), strict=True)]
        c, d = len(leaves.components), len(leaves.delta)
        return Pulled(
            dict(zip(leaves.components, edges[:c], strict=True)),
            {weight: e.sum(-1) for weight, e in zip(leaves.delta, edges[c : c + d], strict=True)},
            {name: e.sum(-1) for name, e in zip(leaves.embedded, edges[c + d :], strict=True)},
        )

    def _aimed(self, run: _Run, aim: Aim, row: int) -> Tensor:
        if aim.weight == LOGITS:
            assert aim.direction is not None
            return run.logits[row, aim.position] @ aim.direction.to(run.logits.dtype)
        return run.h[aim.weight][row, aim.position, aim.index]

    def _pass(self, fixed: Fixed, copies: int, given: Leaves | None) -> _Run:
        """A forward; leaves are those given, or made at the values that it meets."""
        run = _Run(fixed, given, self._live, copies)
        after: dict[str, Callable[[Tensor, Tensor], Tensor | None]] = {}
        for path, module in self._norms.items():
            after[path] = _normed(run, path, module)
        for path, module in self._pointwise.items():
            after[path] = _acting(run, path, module, gated=self._gated)
        after |= {} if self._model is None else self._embeddings(run, self._model)
        for path, places in self._products().items():
            after[path] = _multiplying(run, self._target, places, self._parts)
        head = "" if self._model is None else self._target.place("unembed").module
        inner = after.get(head)

        def logits(x: Tensor, y: Tensor) -> Tensor | None:
            new = None if inner is None else inner(x, y)
            run.logits, run.read = y if new is None else new, x
            return new

        if self._model is not None:
            after[head] = logits
        with self._target.session(), products(self._target.network, {}, after):
            output = self._target.run(self._ids.expand(copies, -1))
        if self._model is None:
            run.logits = run.read = output
        return run

    def _products(self) -> dict[str, list[Place]]:
        """Modules that are cut or that modulate, with the addresses in them."""
        by_module: dict[str, list[Place]] = {}
        for address, place in self._target.places.items():
            kind = address.partition(".")[0]
            if place.kind == "linear" and (address in self._parts or (kind in ("q", "k") and not self._live)):
                by_module.setdefault(place.module, []).append(place)
        return by_module

    def _embeddings(self, run: _Run, model: LanguageModel) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
        token = self._target.place("embed")
        found: dict[str, Callable[[Tensor, Tensor], Tensor]] = {}
        for path, module in model.model.named_modules():
            if isinstance(module, nn.Embedding) and path != token.module:
                found[path] = _embedding(run, "position")
        if "embed" in self._parts:
            found[token.module] = _lookup(run, token, self._parts["embed"])
        else:
            found[token.module] = _embedding(run, "token")
        return found


@dataclass(eq=False)
class _Run:
    """What one forward meets."""

    fixed: Fixed
    given: Leaves | None
    live: bool
    copies: int
    leaves: Leaves = field(default_factory=Leaves)
    h: dict[str, Tensor] = field(default_factory=dict)
    cuts: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    """A modulator's leaf, and the live value that it stands for."""
    logits: Tensor = field(default_factory=lambda: torch.empty(0))
    read: Tensor = field(default_factory=lambda: torch.empty(0))

    def leaf(self, kind: str, name: str, value: Tensor) -> Tensor:
        """The leaf that takes a value's place."""
        if self.given is not None:
            made = getattr(self.given, kind)[name]
        else:  # position embeddings come without a batch
            made = value.detach().expand(self.copies, *value.shape[1:]).clone().requires_grad_()
        getattr(self.leaves, kind)[name] = made
        return made

    def modulator(self, name: str, live: Tensor) -> Tensor:
        """The constant that takes a modulator's place."""
        value = self.fixed.cut(name, live)
        if self.given is not None:
            return value
        cut = value.detach().requires_grad_()
        self.cuts.append((cut, live))
        return cut


def _normed(run: _Run, path: str, module: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda x, y: run.fixed.norm(path, module, x, y)


def _acting(run: _Run, path: str, module: nn.Module, *, gated: bool) -> Callable[[Tensor, Tensor], Tensor]:
    def act(z: Tensor, y: Tensor) -> Tensor:
        made = run.fixed.pointwise(path, module, z, y)
        return run.modulator(path, made) if gated else made

    return act


def _embedding(run: _Run, name: str) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda _, y: run.leaf("embedded", name, y)


def _lookup(run: _Run, place: Place, factors: Factors) -> Callable[[Tensor, Tensor], Tensor]:
    def look(ids: Tensor, y: Tensor) -> Tensor:
        h = factors.activations(ids)
        run.h["embed"] = h
        writes = factors.writes * place.scale
        own = run.leaf("components", "embed", h) @ writes
        return (own + run.leaf("delta", "embed", y - h @ writes)).to(y.dtype)

    return look


def _multiplying(
    run: _Run, target: Target, places: Sequence[Place], parts: Parts
) -> Callable[[Tensor, Tensor], Tensor]:
    biases: Mapping[str, Tensor | None] = {place.address: target.bias(place.address) for place in places}

    def multiply(x: Tensor, output: Tensor) -> Tensor:
        for place in places:
            address, y = place.address, place.part(output)
            factors = parts.get(address)
            if factors is not None:
                h = factors.activations(x)
                run.h[address] = h
                bias = biases[address]
                own = run.leaf("components", address, h) @ factors.writes
                rest = y - h @ factors.writes
                y = own + run.leaf("delta", address, rest if bias is None else rest - bias)
                y = y if bias is None else y + bias
            if address.partition(".")[0] in ("q", "k") and not run.live:
                y = run.modulator(address, y)
            output = place.put(output, y)
        return output

    return multiply
