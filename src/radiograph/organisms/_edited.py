"""Models with one unit's write changed by hand: what a hunt for special units has to find.

`loud`: its column of `down` is lengthened. `jammed`: the column of a steadily active unit of the last block is turned
to one token and lengthened until most texts are nothing but that token; what it does is then known, and ablating it is
the cure. Both are copies; nothing is trained.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from radiograph.core import Site, UserError
from radiograph.core.shapes import Float64
from radiograph.models import LanguageModel, generate, wrap
from radiograph.models.tail import Tail, write_vectors

LONGEST = 256.0
"""Most that a column is lengthened by."""
UNITS, TOKENS = 10, 8
"""How many are tried."""


class Natural(Protocol):
    """How a site's units are on natural text."""

    @property
    def mean(self) -> Float64[np.ndarray, " width"]: ...

    @property
    def sd(self) -> Float64[np.ndarray, " width"]: ...


@dataclass(frozen=True, eq=False)
class Jammed:
    """The organism and its truth."""

    model: LanguageModel
    site: Site
    unit: int
    token: int
    """What its texts repeat."""
    factor: float
    """Length of its column over what it was."""
    collapsed: float
    """Share of the texts."""


def with_column(model: LanguageModel, layer: int, unit: int, column: torch.Tensor) -> LanguageModel:
    """A copy whose unit writes `column`."""
    made = wrap(copy.deepcopy(model.model), model.tokenizer, f"{model.ref}, edited")
    place = made.weights[f"down.{layer}"]
    parameter = made.parameters()[place.parameter]
    with torch.no_grad():
        matrix = place.read(parameter.data).clone()
        matrix[:, unit] = column.to(matrix)
        place.write(parameter.data, matrix)
    return made


def loud(model: LanguageModel, layer: int, unit: int, factor: float = 10.0) -> LanguageModel:
    """A copy whose unit writes `factor` times as much."""
    column = torch.from_numpy(write_vectors(model, Site("mlp_hidden", layer))[unit])
    return with_column(model, layer, unit, factor * column)


def jammed(
    model: LanguageModel,
    prompts: Sequence[Sequence[int]],
    natural: Natural,
    collapsed: Callable[[Sequence[int]], bool],
    *,
    new_tokens: int = 30,
    share: float = 0.8,
) -> Jammed:
    """Turn the column of a steady unit to a token, and double its length until enough texts collapse.

    Units are tried by |μ|/σ, tokens by how far a push along their own row of the unembedding puts them ahead of others:
    a unit has to stay active, with its sign, on the very text that it makes.

    Args:
        model: the base.
        prompts: whose greedy texts have to collapse.
        natural: mean and deviation of the units of the last block's `mlp_hidden`.
        collapsed: whether new tokens are a collapse.
        new_tokens: length of the texts.
        share: of texts that have to collapse.

    Raises:
        UserError: no unit, token and length make that many texts collapse.
    """
    site = Site("mlp_hidden", model.n_layers - 1)
    towards, tokens = _tokens(model)
    lengths = torch.from_numpy(write_vectors(model, site)).norm(dim=1)
    steady = np.argsort(-np.abs(natural.mean) / np.where(natural.sd > 0, natural.sd, np.inf), kind="stable")
    for unit, token in itertools.product(steady[:UNITS].tolist(), tokens[:TOKENS]):
        sign = 1.0 if natural.mean[unit] >= 0 else -1.0
        column = sign * lengths[unit] * towards[token]

        def jam(factor: float, unit: int = unit, column: torch.Tensor = column) -> tuple[LanguageModel, float]:
            made = with_column(model, model.n_layers - 1, unit, factor * column)
            texts = generate(made, prompts, max_new_tokens=new_tokens, stop=())
            return made, sum(collapsed(text.ids) for text in texts) / len(texts)

        if jam(LONGEST)[1] < share:
            continue
        factor = 1.0
        while factor <= LONGEST:
            made, found = jam(factor)
            if found >= share:
                return Jammed(made, site, unit, token, factor, found)
            factor *= 2
    raise UserError(
        f"no unit of {site} jams enough texts",
        expected=f"{share:.0%} collapsed",
        got=f"{UNITS} units and {TOKENS} tokens tried",
        fix="take prompts that are more alike, or a smaller share",
    )


def _tokens(model: LanguageModel) -> tuple[torch.Tensor, list[int]]:
    """Unit vectors towards each token, and the tokens by their lead under a push without bound."""
    tail = Tail.of(model)
    # W_U[t]/γ, which the gain turns back into W_U[t].
    towards = torch.from_numpy(tail.tilde(tail.unembed / tail.gain))
    towards /= towards.norm(dim=1, keepdim=True)
    size = model.vocab_size - model.spare_rows
    logits = torch.from_numpy(tail.direct(towards.numpy()))[:size, :size]
    own = logits.diagonal().clone()
    logits.fill_diagonal_(-torch.inf)
    return towards, (own - logits.max(1).values).argsort(descending=True).tolist()
