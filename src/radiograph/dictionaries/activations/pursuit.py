"""Matching pursuit on the decoder (Mallat and Zhang 1993). Import only.

1. residual r = the row without its input bias   2. the feature of largest max(⟨r, D_i⟩, 0) gets that product added to
its code, and product × D_i leaves the residual   3. a row is done when its residual has become shorter than
`residual_threshold`, when the best feature changed no support, or after `max_iterations`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from radiograph.core import UserError
from radiograph.core.codec import Codes
from radiograph.core.shapes import Float
from radiograph.dictionaries.activations import _base
from radiograph.numerics.sparse import codes_of_dense, concatenate

if TYPE_CHECKING:
    from radiograph.dictionaries._dictionary import Dictionary


@dataclass(frozen=True, slots=True)
class Activation(_base.Activation):
    """Greedy codes: the encoder is not used."""

    residual_threshold: float
    max_iterations: int

    def codes(
        self,
        pre: Float[Tensor, "row feature"],
        parameters: Mapping[str, Tensor],
        weights: Float[Tensor, " feature"] | None = None,
    ) -> Codes:
        """Not defined: pursuit reads rows, not pre-activations.

        Raises:
            UserError: always.
        """
        raise UserError("a pursuit dictionary has no pre-activations", fix="encode whole rows")

    def encode(self, centred: Float[Tensor, "row width"], dictionary: Dictionary) -> Codes:
        """Greedy codes of rows."""
        return concatenate(
            [codes_of_dense(self._pursue(part, dictionary.decoder)) for part in dictionary.chunks(centred)]
        )

    def _pursue(
        self, rows: Float[Tensor, "row width"], decoder: Float[Tensor, "feature width"]
    ) -> Float[Tensor, "row feature"]:
        residual = rows.clone()
        codes = rows.new_zeros(len(rows), len(decoder))
        live = torch.arange(len(rows), device=rows.device)
        for _ in range(self.max_iterations):
            value, best = (residual[live] @ decoder.T).clamp_min(0).max(1)
            fresh = (codes[live, best] == 0) & (value > 0)
            codes[live, best] += value
            residual[live] -= value.unsqueeze(1) * decoder[best]
            live = live[fresh & (residual[live].norm(dim=1) >= self.residual_threshold)]
            if not len(live):
                break
        return codes

    def check(self, size: int, parameters: Mapping[str, Tensor]) -> None:
        """Both bounds are positive.

        Raises:
            UserError: one is not.
        """
        if not (self.residual_threshold > 0 and self.max_iterations > 0):
            raise UserError(
                "bounds of a pursuit dictionary",
                expected="above 0",
                got=f"residual_threshold {self.residual_threshold:g}, max_iterations {self.max_iterations}",
            )

    def folded(
        self, parameters: Mapping[str, Tensor], norms: Float[Tensor, " feature"], *, weighted: bool
    ) -> dict[str, Tensor] | None:
        """A code is a product with the stored decoder row: nothing to fold unless rows have unit norm already."""
        return dict(parameters) if bool((norms == 1).all()) else None
