"""What turns vectors into words, and words into vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from radiograph.core import Site


class Verbalizer(Protocol):
    """Says in words what a vector at a site holds."""

    name: str
    site: Site
    model_sha256: str
    """Of the model whose vectors it reads."""
    scale: Literal["unit_norm", "raw"]
    """Whether lengths of vectors mean anything to it."""

    def verbalize(self, vectors: Float[Tensor, "batch width"], seed: int) -> list[str]:
        """A text a vector."""
        ...


class Reconstructor(Protocol):
    """Gives the vector that a text stands for."""

    def reconstruct(self, texts: list[str]) -> Float[Tensor, "batch width"]:
        """A vector a text."""
        ...
