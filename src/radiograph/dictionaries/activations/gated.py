"""z = [π + b_gate > 0] · max(eʳ ⊙ π + b_mag, 0): one product says whether, and how much (Rajamanoharan et al. 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from radiograph.core.codec import Codes
from radiograph.core.shapes import Float
from radiograph.dictionaries.activations import _base
from radiograph.numerics.sparse import codes_of_dense


@dataclass(frozen=True, slots=True)
class Activation(_base.Activation):
    """Gate and magnitude share the encoder rows. The encoder bias is 0: both have a bias of their own."""

    PARAMETERS: ClassVar[tuple[str, ...]] = ("gate_bias", "magnitude_bias", "magnitude_log_scale")

    def codes(
        self,
        pre: Float[Tensor, "row feature"],
        parameters: Mapping[str, Tensor],
        weights: Float[Tensor, " feature"] | None = None,
    ) -> Codes:
        """Positive magnitudes behind open gates."""
        size = pre * parameters["magnitude_log_scale"].exp() + parameters["magnitude_bias"]
        return codes_of_dense(size.clamp_min(0) * (pre + parameters["gate_bias"] > 0))

    def folded(
        self, parameters: Mapping[str, Tensor], norms: Float[Tensor, " feature"], *, weighted: bool
    ) -> dict[str, Tensor] | None:
        """Biases grow with the pre-activations; the scale is a factor on them and stays."""
        grown = {name: parameters[name] * norms for name in ("gate_bias", "magnitude_bias")}
        return grown | {"magnitude_log_scale": parameters["magnitude_log_scale"]}
