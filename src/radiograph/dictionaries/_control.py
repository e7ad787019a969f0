"""Dictionaries that know nothing, and one that knows only variances: what a real dictionary has to beat.

`random_control`: what any overcomplete set of directions would show.
1. random unit decoder rows, as many as the real dictionary has   2. tied encoder, both biases the mean of given rows
3. one threshold, at which the mean L0 on those rows is the real dictionary's
A score that such a dictionary reaches as well says nothing about features (audit: random-dictionary control).

`principal_control`: the linear rival of the same size and sparsity.
1. the principal directions of the rows that are written, F of them or as many as there are columns
2. per row the k of largest |projection| are kept, with their signs; k is the real dictionary's mean L0, rounded up
It is fitted on the very rows that it is measured on, so its numbers flatter it.

Rows of several sources are divided by the spread of each first, so that no source decides for the others. A transcoder
reads other rows than it writes: its random control has independent rows on both sides, and it has no linear rival here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from radiograph.core import Refusal, UserError, derive
from radiograph.core.shapes import Float, Float64
from radiograph.dictionaries._dictionary import Dictionary
from radiograph.dictionaries._metadata import Metadata
from radiograph.dictionaries.activations import activation
from radiograph.numerics.dictionaries.principal import WIDEST, principal_directions

LEAST_ROWS = 10
"""Rows per column, below which principal directions are those of the sample."""


def random_control(
    dictionary: Dictionary,
    rows: Float[Tensor, "row width"],
    seed: int,
    targets: Float[Tensor, "row target"] | None = None,
) -> Dictionary:
    """A random dictionary of the same size, sources and mean L0 on `rows`, which are neutral rows of its sites.

    `targets` are the rows that a transcoder should write.

    Raises:
        UserError: no rows, or none to write for a transcoder.
    """
    if not len(rows) or (dictionary.target is not None and targets is None):
        raise UserError("a random control needs rows to match the sparsity on")
    rows = rows.to(dictionary.encoder)
    generator = torch.Generator().manual_seed(derive(seed, "dictionary", "random control"))
    encoder, decoder = _directions(dictionary, rows, generator)
    mean = rows.double().mean(0).to(rows)
    written = mean.clone() if targets is None else targets.double().mean(0).to(rows)
    untuned = Dictionary(
        encoder=encoder,
        decoder=decoder,
        encoder_bias=encoder.new_zeros(dictionary.size),
        input_bias=mean,
        decoder_bias=written,
        activation=activation("jumprelu"),
        sites=dictionary.sites,
        kind=dictionary.kind,
        target=dictionary.target,
        widths=dictionary.widths,
        parameters={"threshold": encoder.new_zeros(dictionary.size)},
        metadata=Metadata(source="random control"),
    )
    threshold = _threshold(untuned, rows, wanted=len(dictionary.encode(rows).indices))
    return untuned.with_parameters(threshold=torch.full_like(untuned.encoder_bias, threshold))


def principal_control(
    dictionary: Dictionary,
    batches: Iterable[Float[Tensor, "row width"]],
    *,
    mean: Float64[np.ndarray, " width"],
    spread: Float64[np.ndarray, " width"],
    n: int,
    l0: float,
) -> Dictionary:
    """The principal directions of the rows of `batches`, as a dictionary of equal L0.

    `mean`, `spread` and `n` are the rows' own: their mean, the square root of each column's source's variance, and
    their number.

    Raises:
        Refusal: a transcoder; wider than 4,096 columns; fewer than ten rows a column.
    """
    if dictionary.target is not None:
        raise Refusal("no_linear_rival", "a transcoder reads other rows than it writes: principal directions read none")
    if dictionary.width > WIDEST:
        raise Refusal("too_wide", "principal directions cost the cube of the width", got=str(dictionary.width))
    if n < LEAST_ROWS * dictionary.width:
        need = f"at least {LEAST_ROWS * dictionary.width} rows"
        raise Refusal("few_rows", "principal directions of so few rows are theirs alone", expected=need, got=str(n))
    scaled = (rows.double().cpu().numpy() / spread for rows in batches)
    found, _ = principal_directions(scaled, mean / spread, min(dictionary.size, dictionary.width))

    def tensor(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).to(dictionary.encoder)

    return Dictionary(
        encoder=tensor(found / spread),
        decoder=tensor(found * spread),
        encoder_bias=dictionary.encoder.new_zeros(len(found)),
        input_bias=tensor(mean),
        decoder_bias=tensor(mean),
        activation=activation("abstopk", {"k": min(max(1, math.ceil(l0)), len(found))}),
        sites=dictionary.sites,
        kind=dictionary.kind,
        widths=dictionary.widths,
        metadata=Metadata(source="principal directions"),
    )


def _directions(
    dictionary: Dictionary, rows: Float[Tensor, "row width"], generator: torch.Generator
) -> tuple[Float[Tensor, "feature width"], Float[Tensor, "feature target"]]:
    def unit(width: int) -> Tensor:
        drawn = torch.randn(dictionary.size, width, generator=generator).to(dictionary.encoder)
        return drawn / drawn.norm(dim=1, keepdim=True)

    encoder = unit(dictionary.width)
    if dictionary.target is not None:
        return encoder, unit(dictionary.target_width)
    if len(dictionary.sites) == 1:
        return encoder, encoder.clone()
    spreads = [part.double().var(0, correction=0).sum().sqrt() for part in dictionary.split(rows)]
    spread = torch.cat([s.clamp_min(1e-12).expand(w) for s, w in zip(spreads, dictionary.widths, strict=True)])
    return encoder / spread.to(encoder), encoder * spread.to(encoder)


def _threshold(dictionary: Dictionary, rows: Float[Tensor, "row width"], wanted: int) -> float:
    """The bound that exactly `wanted` positive pre-activations exceed, 0 if there are no more than that."""
    best = rows.new_empty(0)
    for part in dictionary.chunks(rows):
        pre = dictionary.preactivations(part).flatten()
        best = torch.cat([best, pre[pre > 0]])
        if len(best) > wanted + 1:
            best = best.topk(wanted + 1).values
    return float(best.min()) if len(best) > wanted else 0.0
