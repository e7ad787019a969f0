"""What turns vectors into words, and words into vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from radiograph.core import Site
    from radiograph.core.shapes import Float


class Verbalizer(Protocol):
    """Says in words what a vector at a site holds."""

    @property
    def name(self) -> str:
        """For people."""
        ...

    @property
    def site(self) -> Site:
        """Where the vectors are written."""
        ...

    @property
    def model_sha256(self) -> str:
        """Of the model whose vectors it reads."""
        ...

    @property
    def scale(self) -> Literal["unit_norm", "raw"]:
        """`raw`: lengths of vectors mean something to it."""
        ...

    def verbalize(self, vectors: Float[Tensor, "batch width"], seed: int) -> list[str]:
        """A text a vector."""
        ...


class Reconstructor(Protocol):
    """Gives the vector that a text stands for."""

    def reconstruct(self, texts: list[str]) -> Float[Tensor, "batch width"]:
        """A vector a text."""
        ...
