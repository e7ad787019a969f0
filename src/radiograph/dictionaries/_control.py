"""A dictionary that knows nothing: what any overcomplete set of directions would show.

1. random unit decoder rows, as many as the real dictionary has   2. tied encoder, both biases the mean of given rows
3. one threshold, at which the mean L0 on those rows is the real dictionary's
A score that such a dictionary reaches as well says nothing about features (audit: random-dictionary control).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from radiograph.core import UserError, derive
from radiograph.dictionaries._dictionary import Dictionary
from radiograph.dictionaries._metadata import Metadata
from radiograph.dictionaries.activations import activation


def random_control(dictionary: Dictionary, rows: Float[Tensor, "row width"], seed: int) -> Dictionary:
    """A random dictionary of the same size, site and mean L0 on `rows`, which are neutral rows of the site.

    Raises:
        UserError: no rows.
    """
    if not len(rows):
        raise UserError("a random control needs rows to match the sparsity on")
    rows = rows.to(dictionary.encoder)
    generator = torch.Generator().manual_seed(derive(seed, "dictionary", "random control"))
    directions = torch.randn(dictionary.size, dictionary.width, generator=generator).to(dictionary.encoder)
    directions /= directions.norm(dim=1, keepdim=True)
    mean = rows.double().mean(0).to(rows)
    untuned = Dictionary(
        encoder=directions,
        decoder=directions.clone(),
        encoder_bias=directions.new_zeros(dictionary.size),
        input_bias=mean,
        decoder_bias=mean.clone(),
        activation=activation("jumprelu"),
        sites=dictionary.sites,
        parameters={"threshold": directions.new_zeros(dictionary.size)},
        metadata=Metadata(source="random control"),
    )
    threshold = _threshold(untuned, rows, wanted=len(dictionary.encode(rows).indices))
    return untuned.with_parameters(threshold=torch.full_like(untuned.encoder_bias, threshold))


def _threshold(dictionary: Dictionary, rows: Float[Tensor, "row width"], wanted: int) -> float:
    """The bound that exactly `wanted` positive pre-activations exceed, 0 if there are no more than that."""
    best = rows.new_empty(0)
    for part in dictionary.chunks(rows):
        pre = dictionary.preactivations(part).flatten()
        best = torch.cat([best, pre[pre > 0]])
        if len(best) > wanted + 1:
            best = best.topk(wanted + 1).values
    return float(best.min()) if len(best) > wanted else 0.0
