"""What an explainer is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from radiograph.core import Progress, Silent
from radiograph.core.shapes import Float
from radiograph.evidence.explanations import Exchange, FeatureExplanation, Pushed
from radiograph.explanations.texts._contexts import Windowed
from radiograph.explanations.texts._passages import CHECK, LEARN, Material

if TYPE_CHECKING:
    from radiograph.explanations._protocol import Reconstructor, Verbalizer
    from radiograph.explanations._sources import LabelSource
    from radiograph.store.chat import ChatClient

MAX_FAILED: Final = 0.1
"""Share of the questions that may fail before nothing is said."""


@dataclass(frozen=True, eq=False)
class Truth:
    """Labels of tokens that the small world knows."""

    names: tuple[str, ...]
    of: Float[np.ndarray, "token attribute"]
    """Of every token of the material."""
    floor: float
    """Held-out AUROC below which a feature gets no words."""


@dataclass(frozen=True, eq=False)
class Study:
    """The texts that explain, and what an explainer may use. What is None is not there."""

    material: Material
    """Without the reserved texts."""
    part: NDArray[np.int64]
    """LEARN or CHECK of each text."""
    seed: int
    window: int
    least_f1: float
    """A rule whose F1 on texts that did not teach it is lower describes nothing."""
    pushes: Callable[[int], tuple[tuple[Pushed, ...], tuple[Pushed, ...]]] | None = None
    """What a feature's write direction raises and lowers, by its place in the material."""
    chat: ChatClient | None = None
    labels: LabelSource | None = None
    truth: Truth | None = None
    verbalizer: Verbalizer | None = None
    reconstructor: Reconstructor | None = None
    vectors: Float[np.ndarray, "feature width"] | None = None
    """Write directions, in the order of the material."""
    progress: Progress = field(default_factory=Silent)

    @cached_property
    def windowed(self) -> Windowed:
        """Its windows."""
        return Windowed(self.material, self.window)

    @cached_property
    def learn(self) -> Material:
        """Texts that teach rules."""
        return self.material.take(self.part == LEARN)

    @cached_property
    def check(self) -> Material:
        """Texts on which rules are checked."""
        return self.material.take(self.part == CHECK)


@dataclass(frozen=True)
class Explained:
    """What an explainer said."""

    author: str
    explanations: tuple[FeatureExplanation, ...]
    """One a feature, in the order of the material."""
    failed: int = 0
    exchange: Exchange | None = None
    notes: tuple[str, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)
    """What one explainer alone measures: `round_trip`."""
