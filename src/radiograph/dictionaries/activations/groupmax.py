"""z = the largest of max(π, 0) in each of k groups of F/k neighbouring features, the rest 0. Import only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from radiograph.core import UserError
from radiograph.core.codec import Codes
from radiograph.core.shapes import Float
from radiograph.dictionaries.activations import _base
from radiograph.numerics.sparse import codes_of


@dataclass(frozen=True, slots=True)
class Activation(_base.Activation):
    """One feature per group at most."""

    k: int
    """Number of groups."""

    def codes(
        self,
        pre: Float[Tensor, "row feature"],
        parameters: Mapping[str, Tensor],
        weights: Float[Tensor, " feature"] | None = None,
    ) -> Codes:
        """The positive group maxima."""
        scores = pre if weights is None else pre * weights
        group = pre.shape[1] // self.k
        first = torch.arange(self.k, device=pre.device) * group
        indices = scores.unflatten(1, (self.k, group)).argmax(2) + first
        return codes_of(pre.gather(1, indices).clamp_min(0), indices, pre.shape[1])

    def check(self, size: int, parameters: Mapping[str, Tensor]) -> None:
        """Groups are equally large.

        Raises:
            UserError: they are not.
        """
        _base.check_k(self.k, size, self.name)
        if size % self.k:
            raise UserError("groups of a groupmax dictionary", expected=f"a divisor of {size}", got=str(self.k))

    def folded(
        self, parameters: Mapping[str, Tensor], norms: Float[Tensor, " feature"], *, weighted: bool
    ) -> dict[str, Tensor] | None:
        """Only weighted selection, or equal norms, leave the selection as it was."""
        return _base.fold_selection(parameters, norms, weighted=weighted)
