"""Which scored rows made the basis that they are scored with.

1. A row is known by the digest of its vector, in whatever file it stands; a row of the same prompt in the same model,
   written or drawn again, is so near to it that it counts as one
2. a fold leaves such a row out where it was fitted without the core that the row was fitted in
3. a basis whose record holds no digests is compared by the hash of its file
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from radiograph.evidence.resonance import Basis
    from radiograph.methods.resonance._planes._groups import Grouped
    from radiograph.store.planes import VectorRows


def shared(rows: VectorRows, record: Basis) -> np.ndarray:
    """Rows that helped to make the basis."""
    if not record.digests:
        same = record.source_sha256 is not None and record.source_sha256 == rows.sha256
        held = set(record.rows) if same else set[str]()
        return np.array([key in held for key in rows.keys], dtype=bool)
    digests = set(record.digests)
    known = record.model is not None and record.model == rows.model
    prompts = {key.rsplit("|", 2)[0] for key in record.rows} if known else set[str]()
    pairs = zip(rows.digests, rows.prompts, strict=True)
    return np.array([digest in digests or prompt in prompts for digest, prompt in pairs], dtype=bool)


def left_out(rows: Grouped, record: Basis, mine: np.ndarray) -> bool:
    """Whether the folds by core leave each of these rows out of what it is scored with."""
    folds, fitted = set(record.folds), set(zip(record.digests, record.cores, strict=False))
    digests = set(record.digests)
    held = [(digest, str(core)) for digest, core in zip(rows.rows.digests, rows.cores, strict=True)]
    return all(
        own[1] in folds and (own[0] not in digests or own in fitted or not record.cores)
        for own, made in zip(held, mine, strict=True)
        if made
    )


def equal(rows: VectorRows, record: Basis) -> bool:
    """Whether these rows, and no others, made the basis."""
    if set(record.rows) != set(rows.keys):
        return False
    if not record.digests:
        return record.source_sha256 == rows.sha256
    return dict(zip(record.rows, record.digests, strict=True)) == dict(zip(rows.keys, rows.digests, strict=True))
