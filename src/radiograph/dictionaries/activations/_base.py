"""What every activation answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from radiograph.core import UserError
from radiograph.core.codec import Codes
from radiograph.core.shapes import Float
from radiograph.numerics.sparse import concatenate

if TYPE_CHECKING:
    from radiograph.dictionaries._dictionary import Dictionary


@dataclass(frozen=True, slots=True)
class Activation(ABC):
    """Maps pre-activations π to codes z. Fields are constants; `PARAMETERS` name tensors [feature]."""

    PARAMETERS: ClassVar[tuple[str, ...]] = ()

    @property
    def name(self) -> str:
        """The name of the file, which is the name in a dictionary's JSON."""
        return type(self).__module__.rpartition(".")[2]

    @property
    def constants(self) -> dict[str, object]:
        """The fields, as they stand in a dictionary's JSON."""
        return asdict(self)

    @abstractmethod
    def codes(
        self,
        pre: Float[Tensor, "row feature"],
        parameters: Mapping[str, Tensor],
        weights: Float[Tensor, " feature"] | None = None,
    ) -> Codes:
        """The codes of pre-activations; `weights` multiply them where features are compared or held to a threshold."""

    def encode(self, centred: Float[Tensor, "row width"], dictionary: Dictionary) -> Codes:
        """Codes of at least one row from which the input bias was taken."""
        weights = dictionary.selection_weights
        parts = dictionary.chunks(centred)
        return concatenate([self.codes(dictionary.products(part), dictionary.parameters, weights) for part in parts])

    def check(self, size: int, parameters: Mapping[str, Tensor]) -> None:
        """Raise a UserError or FormatError if constants or parameters make no sense for `size` features."""
        del size, parameters

    def folded(
        self, parameters: Mapping[str, Tensor], norms: Float[Tensor, " feature"], *, weighted: bool
    ) -> dict[str, Tensor] | None:
        """Parameters after each feature's pre-activation is multiplied by its decoder norm.

        `weighted`: selection was by pre-activation × norm already. None if the activation does not commute with the
        product (a plain top-k compares features with each other).
        """
        del weighted
        return {name: value * norms for name, value in parameters.items()}


def fold_selection(
    parameters: Mapping[str, Tensor], norms: Float[Tensor, " feature"], *, weighted: bool
) -> dict[str, Tensor] | None:
    """`folded` where features are compared: only weighted selection, or equal norms, leave it as it was."""
    return dict(parameters) if weighted or bool((norms == norms[0]).all()) else None


def check_k(k: int, size: int, name: str) -> None:
    """Hold k between 1 and the number of features.

    Raises:
        UserError: it does not.
    """
    if not 1 <= k <= size:
        raise UserError(f"k of a {name} dictionary", expected=f"1 to {size} (its features)", got=str(k))
