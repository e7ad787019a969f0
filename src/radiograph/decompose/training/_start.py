"""Where training begins: V and U of every weight, and a fresh importance function.

`random` V ~ N(0, 1/d_in), U ~ N(0, 1/C) (the published start) · `data` V_c = what the weight reads at C random live
positions, brought to length 1, and U_c = W V_c · min(d_in, C)/C; an embedding starts at C tokens of the data, each once
while there are enough · `spread` the same, positions drawn one after the other in proportion to their squared distance
to the nearest direction already drawn, so that no direction of the data is left out by luck; and importance begins
near the cosine of what is read with V_c. Without that a component is as good for what it reads with a minus: where
features write opposite directions one came to serve two, at equal loss, and nothing drives them apart again

Source: Arthur & Vassilvitskii 2007 (k-means++), for `spread`.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from radiograph.core import UserError, derive
from radiograph.core.shapes import Float
from radiograph.decompose.importance import Importance, Size, new
from radiograph.decompose.training._settings import Settings
from radiograph.models.masked import Factors, Record, Target, recorded

_POOL = 64
"""Rows for each component that `spread` draws from."""
_ALIGN_STEPS, _ALIGN_RATE = 200, 1e-2
"""Adam, on the first batch."""
_SAME = 1e-6
"""1 − cosine below which two rows are one direction."""


def started(target: Target, inputs: Tensor, settings: Settings) -> tuple[dict[str, Factors], Importance]:
    """Factors and importance before the first step; `inputs` is a batch of the data."""
    weights = list(settings.sizes)
    with torch.no_grad(), recorded(target, weights) as record:
        target.run(inputs)
    generator = torch.Generator().manual_seed(derive(settings.seed, "decompose", "start"))
    factors = {w: _factors(target, w, record, settings, generator) for w in weights}
    scales = {w: 1.0 / max(float(record.seen(w).float().square().mean().sqrt()), 1e-6) for w in weights}
    importance = new(
        settings.importance, settings.importance_options, sizes_of(target, settings.sizes), generator, scales
    )
    dtype = next(iter(factors.values())).reads.dtype
    moved = {name: tensor.to(target.device, dtype) for name, tensor in importance.tensors.items()}
    importance = Importance(importance.name, importance.options, moved, importance.kind)
    if settings.start == "spread":
        _align(importance, factors, record)
    return factors, importance


def _align(importance: Importance, factors: Mapping[str, Factors], record: Record) -> None:
    """Least squares to cos(x, V_c), in place, over the rows that are not zero."""
    seen = {w: record.seen(w).detach() for w in factors}
    h = {w: own.activations(record.inputs[w]).detach() for w, own in factors.items()}
    sizes = {w: _lengths(record.inputs[w]) for w in factors}
    wanted = {w: h[w] / (sizes[w].clamp_min(1e-30) * own.reads.norm(dim=0)) for w, own in factors.items()}
    moved = list(importance.trained.values())
    for tensor in moved:
        tensor.requires_grad_()
    optimiser = torch.optim.Adam(moved, lr=_ALIGN_RATE)
    with torch.enable_grad():
        for _ in range(_ALIGN_STEPS):
            raw = importance.raw(seen, h)
            loss = torch.stack([((raw[w] - wanted[w]).square() * (sizes[w] > 0)).mean() for w in factors]).sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    for tensor in moved:
        tensor.requires_grad_(False).grad = None


def _lengths(x: Tensor) -> Float[Tensor, "... 1"]:
    """Of what is read; a token is a unit vector."""
    if not x.is_floating_point():
        return torch.ones((*x.shape, 1), device=x.device)
    return x.detach().norm(dim=-1, keepdim=True)


def untrained(target: Target, settings: Settings, number: int) -> dict[str, Factors]:
    """Factors of the n-th random decomposition: what chance gives."""
    generator = torch.Generator().manual_seed(derive(settings.seed, "decompose", "chance", number))
    found: dict[str, Factors] = {}
    for weight, count in settings.sizes.items():
        place = target.place(weight)
        reads = torch.randn(place.inputs, count, generator=generator) * place.inputs**-0.5
        found[weight] = Factors(reads, torch.randn(count, place.outputs, generator=generator) * count**-0.5)
    return found


def sizes_of(target: Target, sizes: Mapping[str, int]) -> dict[str, Size]:
    """What an importance function must know of each weight."""
    found: dict[str, Size] = {}
    for weight, components in sizes.items():
        place = target.place(weight)
        found[weight] = Size(place.outputs if place.kind == "lookup" else place.inputs, components)
    return found


def _factors(target: Target, weight: str, record: Record, settings: Settings, generator: torch.Generator) -> Factors:
    place, count = target.place(weight), settings.sizes[weight]
    dtype = torch.float64 if settings.precision == "fp64" else torch.float32
    if settings.start == "random":
        reads = torch.randn(place.inputs, count, generator=generator) * place.inputs**-0.5
        writes = torch.randn(count, place.outputs, generator=generator) * count**-0.5
        return Factors(reads.to(target.device, dtype), writes.to(target.device, dtype))
    x = record.inputs[weight]
    if place.kind == "lookup":
        directions = _tokens(x, place.inputs, count, generator)
    else:
        rows = x.detach().float().flatten(0, -2)
        rows = rows[rows.norm(dim=1) > 0]
        if not len(rows):
            raise UserError(f"{weight} reads zeros alone on the first batch", fix="--start random, or other data")
        rows = rows / rows.norm(dim=1, keepdim=True)
        if settings.start == "spread":
            directions = _spread(rows, count, generator).T
        else:
            directions = rows[torch.randint(len(rows), (count,), generator=generator).to(rows.device)].T
    directions = directions.to(target.device, dtype)
    matrix = target.matrix(weight).to(dtype)
    share = min(place.inputs, count) / count
    return Factors(directions.contiguous(), (matrix @ directions).T.contiguous() * share)


def _spread(rows: Float[Tensor, "row width"], count: int, generator: torch.Generator) -> Float[Tensor, "count width"]:
    """Unit rows far from each other; at random where every row is drawn already."""
    rows = rows[torch.randperm(len(rows), generator=generator)[: _POOL * count].to(rows.device)]
    chosen = [0]
    apart = 1.0 - rows @ rows[0]
    for _ in range(count - 1):
        chance = apart.clamp_min(0.0).cpu()
        chance = chance if float(chance.max()) > _SAME else torch.ones_like(chance)
        chosen.append(int(torch.multinomial(chance, 1, generator=generator)))
        apart = torch.minimum(apart, 1.0 - rows @ rows[chosen[-1]])
    return rows[torch.tensor(chosen, device=rows.device)]


def _tokens(ids: Tensor, vocabulary: int, count: int, generator: torch.Generator) -> Tensor:
    """One-hot columns of tokens of the data, those seen first in a random order."""
    flat = ids.flatten().cpu()
    order = flat[torch.randperm(len(flat), generator=generator)]
    seen = list(dict.fromkeys(order.tolist()))
    rest = [token for token in torch.randperm(vocabulary, generator=generator).tolist() if token not in set(seen)]
    chosen = torch.tensor(([*seen, *rest] * (1 + count // vocabulary))[:count])
    directions = torch.zeros(vocabulary, count)
    directions[chosen, torch.arange(count)] = 1.0
    return directions
