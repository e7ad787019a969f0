"""z = the k largest of max(π, 0) per row, the rest 0; fewer if fewer are positive (Gao et al. 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from radiograph.core import UserError
from radiograph.core.codec import Codes
from radiograph.dictionaries.activations import _base
from radiograph.numerics.sparse import codes_of, top_k


@dataclass(frozen=True, slots=True)
class Activation(_base.Activation):
    """A fixed budget per row. Ties go to the lower index."""

    k: int
    """Largest number of features that fire on a row."""

    def codes(self, pre: Float[Tensor, "row feature"], parameters: Mapping[str, Tensor]) -> Codes:
        """Positive entries among the k largest."""
        values, indices = top_k(pre, self.k)
        return codes_of(values.clamp_min(0), indices, pre.shape[1])

    def check(self, size: int, parameters: Mapping[str, Tensor]) -> None:
        """Hold k between 1 and the number of features.

        Raises:
            UserError: it does not.
        """
        if not 1 <= self.k <= size:
            raise UserError("k of a topk dictionary", expected=f"1 to {size} (its features)", got=str(self.k))

    def folded(self, parameters: Mapping[str, Tensor], norms: Float[Tensor, " feature"]) -> dict[str, Tensor] | None:
        """Only equal norms leave the selection as it was."""
        equal = bool((norms == norms[0]).all())
        return _base.Activation.folded(self, parameters, norms) if equal else None
