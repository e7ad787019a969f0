"""z = max(π, 0)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from radiograph.core.codec import Codes
from radiograph.core.shapes import Float
from radiograph.dictionaries.activations import _base
from radiograph.numerics.sparse import codes_of_dense


@dataclass(frozen=True, slots=True)
class Activation(_base.Activation):
    """Rectified: every positive pre-activation fires."""

    def codes(
        self,
        pre: Float[Tensor, "row feature"],
        parameters: Mapping[str, Tensor],
        weights: Float[Tensor, " feature"] | None = None,
    ) -> Codes:
        """Positive entries."""
        return codes_of_dense(pre.clamp_min(0))
