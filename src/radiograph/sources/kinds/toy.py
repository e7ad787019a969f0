"""`toy`: the bundled model of the small world with its dictionary: everything is measured, and it is still a toy."""

from __future__ import annotations

from radiograph.core import UserError
from radiograph.sources._given import Live
from radiograph.sources._grammar import Reference
from radiograph.sources._parts import Parts
from radiograph.sources.kinds.dictionary import of_dictionary


def open(reference: Reference, parts: Parts) -> Live:
    """The bundled dictionary; findings on it carry `toy_evidence`.

    Raises:
        UserError: a place is named.
    """
    if reference.where:
        raise UserError(f"{reference.text!r}: toy has no place", expected="toy, or toy#650", code="bad_features")
    return of_dictionary(
        reference,
        reference.named(""),
        parts,
        lambda: parts.dictionary("dictionary:bundled", parts.role),
        codes=("toy_evidence",),
    )
