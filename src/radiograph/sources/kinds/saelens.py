"""`saelens:RELEASE/SAE_ID`: a dictionary that SAELens lists, or a folder that it wrote, read by our reader.

A place here (`saelens:FOLDER`) needs no package. Of a release the package `sae_lens` knows repository and path; its own
loader is not used, so the same checks hold as for every foreign dictionary.
"""

from __future__ import annotations

from typing import Any

from radiograph.core import UserError, nearest, require
from radiograph.sources._given import Live
from radiograph.sources._grammar import Reference
from radiograph.sources._parts import Foreign, Parts
from radiograph.sources.kinds.dictionary import of_dictionary


def open(reference: Reference, parts: Parts) -> Live:
    """Features of one dictionary, read when there is a model.

    Raises:
        UserError: no release or id of that name. MissingExtra: a release, and the package is not installed.
    """
    where = reference.where
    if not where:
        raise UserError(f"{reference.text!r} names no place", expected="saelens:RELEASE/SAE_ID", code="bad_features")
    place, citation = where, None
    if not parts.here(where):
        release, _, name = where.partition("/")
        place = _listed(release, name)
        citation = f"SAELens release {release}, {name}"
    asked = Foreign(place, parts.role, None, parts.options.k, None)
    return of_dictionary(
        reference,
        reference.named(parts.label(where)),
        parts,
        lambda: parts.foreign(asked),
        citation=citation,
    )


def _listed(release: str, name: str) -> str:
    """Repository and path of a dictionary in SAELens' list."""
    library: Any = require("sae_lens.loading.pretrained_saes_directory", extra="saelens")
    listed = library.get_pretrained_saes_directory()
    if release not in listed:
        close = nearest(release, list(listed))
        raise UserError(
            f"SAELens lists no release {release!r}",
            fix=f"did you mean {', '.join(close)}?" if close else None,
            code="unknown_source",
        )
    known = listed[release]
    if name not in known.saes_map:
        close = nearest(name, list(known.saes_map)) or list(known.saes_map)[:8]
        raise UserError(
            f"release {release} has no dictionary {name!r}",
            fix=f"did you mean {', '.join(close)}?",
            code="unknown_source",
        )
    return f"{known.repo_id}/{known.saes_map[name]}"
