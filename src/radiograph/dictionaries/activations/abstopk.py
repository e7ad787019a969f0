"""z = the k entries of largest |π|·w per row with their signs, the rest 0. Import only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from radiograph.core.codec import Codes
from radiograph.core.shapes import Float
from radiograph.dictionaries.activations import _base
from radiograph.numerics.sparse import codes_of, top_k


@dataclass(frozen=True, slots=True)
class Activation(_base.Activation):
    """A fixed budget per row; codes may be negative. Ties go to the lower index."""

    k: int
    """Number of features that fire on a row."""

    def codes(
        self,
        pre: Float[Tensor, "row feature"],
        parameters: Mapping[str, Tensor],
        weights: Float[Tensor, " feature"] | None = None,
    ) -> Codes:
        """The k entries of largest magnitude."""
        _, indices = top_k(pre.abs() if weights is None else pre.abs() * weights, self.k)
        return codes_of(pre.gather(1, indices), indices, pre.shape[1])

    def check(self, size: int, parameters: Mapping[str, Tensor]) -> None:
        """Hold k between 1 and the number of features."""
        _base.check_k(self.k, size, self.name)

    def folded(
        self, parameters: Mapping[str, Tensor], norms: Float[Tensor, " feature"], *, weighted: bool
    ) -> dict[str, Tensor] | None:
        """Only weighted selection, or equal norms, leave the selection as it was."""
        return _base.fold_selection(parameters, norms, weighted=weighted)
