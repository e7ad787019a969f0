"""`components:REF[@WEIGHT]`: weight components as features, by their activation h: a run, a folder, or `bundled`.

`components:bundled@down.2#17` is component `down.2:17`. Without a weight: every `o` and `down` that is decomposed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from radiograph.core import UserError
from radiograph.core.components import canonical_weight
from radiograph.core.shapes import Float
from radiograph.sources._chosen import chosen, labels_of
from radiograph.sources._given import Features, Live
from radiograph.sources._grammar import Reference
from radiograph.sources._parts import FeatureDictionary, Parts

if TYPE_CHECKING:
    from radiograph.models import LanguageModel

BUNDLED = "bundled"


def open(reference: Reference, parts: Parts) -> Live:
    """Components of one weight or of several, loaded when there is a model.

    Raises:
        UserError: no place, or numbers without a weight.
    """
    place, at, weight = reference.where.partition("@")
    if not place or (reference.chosen and not at):
        raise UserError(
            f"{reference.text!r} names no components",
            expected="components:FOLDER, or components:FOLDER@WEIGHT#NUMBERS",
            code="bad_features",
        )
    weights = (canonical_weight(weight),) if at else ()
    shown = place if place == BUNDLED else parts.label(place)
    own = labels_of(parts)

    def features(model: LanguageModel) -> tuple[Features, ...]:
        given = parts.components(f"decomposition:{BUNDLED}" if place == BUNDLED else place, parts.role)
        return tuple(_features(codec, reference, parts, own) for codec in given(model, weights))

    return Live(reference.named(f"{shown}{at}{weight}"), features)


def _features(codec: FeatureDictionary, reference: Reference, parts: Parts, labels: dict[int, str]) -> Features:
    def write(numbers: NDArray[np.int64]) -> Float[np.ndarray, "feature target"]:
        return codec.decoder.detach().cpu().float().numpy()[numbers]

    return Features(codec, chosen(reference, codec.size, parts), codec.address, write, labels=labels)
