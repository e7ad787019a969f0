"""What every activation answers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from radiograph.core.codec import Codes


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
    def codes(self, pre: Float[Tensor, "row feature"], parameters: Mapping[str, Tensor]) -> Codes:
        """The codes of pre-activations."""

    def check(self, size: int, parameters: Mapping[str, Tensor]) -> None:
        """Raise a UserError if constants or parameters make no sense for `size` features."""
        del size, parameters

    def folded(self, parameters: Mapping[str, Tensor], norms: Float[Tensor, " feature"]) -> dict[str, Tensor] | None:
        """Parameters after each feature's pre-activation is multiplied by its decoder norm.

        None if the activation does not commute with that (a plain top-k compares features with each other).
        """
        return {name: value * norms for name, value in parameters.items()}
