"""`scope:gemma-scope/REPO/FILE` and `scope:qwen-scope/REPO/LAYER`: dictionaries of two public collections.

REPO is a folder here or OWNER/NAME on the hub, FILE a `params.npz` below it, LAYER a number. How many features of
Qwen-Scope fire is in the repository's name, or has to be said with `--k`. Nothing is downloaded unless the run may use
the network and the place names its revision.
"""

from __future__ import annotations

from typing import Final

from radiograph.core import UserError
from radiograph.sources._given import Live
from radiograph.sources._grammar import Reference
from radiograph.sources._parts import Foreign, Parts
from radiograph.sources.kinds.dictionary import of_dictionary

CITATIONS: Final = {
    "gemma-scope": "Lieberum et al. 2024, Gemma Scope, https://arxiv.org/abs/2408.05147",
    "qwen-scope": "Qwen Team 2026, Qwen-Scope, https://huggingface.co/Qwen",
}
_FORMS: Final = {"gemma-scope": "gemma_scope", "qwen-scope": "qwen_scope"}


def open(reference: Reference, parts: Parts) -> Live:
    """Features of one dictionary of a collection, read when there is a model.

    Raises:
        UserError: another collection, or no file of it.
    """
    collection, _, place = reference.where.partition("/")
    if collection not in _FORMS or not place.strip("/"):
        raise UserError(
            f"{reference.text!r} names no dictionary of a collection",
            expected="scope:gemma-scope/REPO/FILE or scope:qwen-scope/REPO/LAYER",
            code="bad_features",
        )
    layer: int | None = None
    if collection == "qwen-scope":
        home, _, last = place.rpartition("/")
        if not home or not last.isdigit():
            raise UserError(
                f"{reference.text!r} names no layer", expected="scope:qwen-scope/REPO/LAYER", code="bad_features"
            )
        place, layer = home, int(last)
    asked = Foreign(place, parts.role, _FORMS[collection], parts.options.k, layer)
    shown = place if layer is None else f"{place}/{layer}"
    name = reference.named(f"{collection}/{parts.label(place) + shown[len(place) :]}")
    return of_dictionary(reference, name, parts, lambda: parts.foreign(asked), citation=CITATIONS[collection])
