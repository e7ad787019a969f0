"""z = π where π·w > θ, else 0; strict, θ ≥ 0 per feature (Rajamanoharan et al. 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from radiograph.core import FormatError
from radiograph.core.codec import Codes
from radiograph.core.shapes import Float
from radiograph.dictionaries.activations import _base
from radiograph.numerics.sparse import codes_of_dense


@dataclass(frozen=True, slots=True)
class Activation(_base.Activation):
    """A threshold per feature. What passes it keeps its full value."""

    PARAMETERS: ClassVar[tuple[str, ...]] = ("threshold",)

    def codes(
        self,
        pre: Float[Tensor, "row feature"],
        parameters: Mapping[str, Tensor],
        weights: Float[Tensor, " feature"] | None = None,
    ) -> Codes:
        """Entries above their feature's threshold."""
        scores = pre if weights is None else pre * weights
        return codes_of_dense(pre * (scores > parameters["threshold"]))

    def check(self, size: int, parameters: Mapping[str, Tensor]) -> None:
        """No threshold is negative.

        Raises:
            FormatError: one is.
        """
        negative = (parameters["threshold"] < 0).nonzero().flatten()
        if len(negative):
            at = int(negative[0])
            raise FormatError(
                "a threshold is negative",
                where=f"threshold[{at}]",
                expected=">= 0",
                got=f"{float(parameters['threshold'][at]):g}",
            )

    def folded(
        self, parameters: Mapping[str, Tensor], norms: Float[Tensor, " feature"], *, weighted: bool
    ) -> dict[str, Tensor] | None:
        """A threshold on π·w is one on the folded π already."""
        return dict(parameters) if weighted else {"threshold": parameters["threshold"] * norms}
