"""`dictionary:REF`: features of a dictionary of ours: a folder, the run that trained it, or `dictionary:bundled`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from radiograph.core import Refusal, UserError
from radiograph.core.shapes import Float
from radiograph.core.sites import Source
from radiograph.sources._chosen import chosen, labels_of
from radiograph.sources._given import Features, Live
from radiograph.sources._grammar import Reference
from radiograph.sources._parts import Opened, Parts

if TYPE_CHECKING:
    from radiograph.models import LanguageModel

BUNDLED = "bundled"


def open(reference: Reference, parts: Parts) -> Live:
    """Features of a dictionary, loaded when there is a model.

    Raises:
        UserError: no place.
    """
    where = reference.where.removeprefix("dictionary:")
    if not where:
        raise UserError(f"{reference.text!r} names no dictionary", expected="dictionary:FOLDER", code="bad_features")
    ref = f"dictionary:{BUNDLED}" if where == BUNDLED else where
    name = reference.named(where if where == BUNDLED else parts.label(where))
    return of_dictionary(reference, name, parts, lambda: parts.dictionary(ref, parts.role))


def of_dictionary(
    reference: Reference,
    name: str,
    parts: Parts,
    load: Callable[[], Opened],
    *,
    codes: tuple[str, ...] = (),
    citation: str | None = None,
) -> Live:
    """Features of whatever `load` returns."""
    own = labels_of(parts)

    def features(model: LanguageModel) -> tuple[Features, ...]:
        opened = load()
        dictionary = opened.dictionary
        _require_same(opened, model, name)

        def write(numbers: NDArray[np.int64]) -> Float[np.ndarray, "feature target"]:
            return dictionary.decoder.detach().cpu().float().numpy()[numbers]

        return (
            Features(
                dictionary,
                chosen(reference, dictionary.size, parts),
                dictionary.address,
                write,
                dictionary_sha256=dictionary.hash,
                labels={**opened.labels, **own},
            ),
        )

    return Live(name, features, codes, citation)


def _require_same(opened: Opened, model: LanguageModel, name: str) -> None:
    """The dictionary reads sites of this model, and was made for it where it says for which."""
    dictionary = opened.dictionary
    known = {str(Source.parse(site).site): Source.parse(site).role for site in dictionary.sites}
    foreign = [site for site, role in known.items() if role != "reference"]
    stated, own = opened.model_sha256, model.identity.tensors_sha256
    widths: list[int] = []
    if not foreign:
        for site in known:
            (found,) = model.sites(site)
            widths.append(model.site_width(found))
    if foreign or (stated is not None and stated != own) or sum(widths) != dictionary.width:
        raise Refusal(
            "dictionary_mismatch",
            f"{name} reads another model, or another place of it",
            expected=f"model {stated or 'unknown'}, {'+'.join(dictionary.sites)} of width {dictionary.width}",
            got=f"model {own}, width {sum(widths)}" if not foreign else f"one model, no {foreign[0]} of another",
            fix="give the model that it was trained on, or a dictionary of this one",
            fixable=True,
        )
