"""Who runs a model: Hugging Face's own network, or the same weights through TransformerLens or NNsight.

A reader takes a model, a batch and sites, and returns what stands there, as `capture` does. Sites are ours under every
backend; all agree to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from radiograph.core import Site
from radiograph.models._batching import Batch
from radiograph.models._hooks import Activations, capture
from radiograph.models._model import LanguageModel

Backend = Literal["hf", "transformerlens", "nnsight"]
Reader = Callable[[LanguageModel, Batch, Sequence[Site]], Activations]


def reader(backend: Backend, model: LanguageModel) -> Reader:
    """What reads activations of `model`.

    TransformerLens takes the network over: it must not be run in another way afterwards.

    Raises:
        MissingExtra: the package is not installed. Refusal: it cannot run this model.
    """
    if backend == "transformerlens":
        from radiograph.models.backends._transformerlens import bridged

        return bridged(model)
    if backend == "nnsight":
        from radiograph.models.backends._nnsight import traced

        return traced(model)
    return capture
