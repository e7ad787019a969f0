"""A probe of a pack run again: its test texts through the model, its scores beside those in the file.

Contrast and clean text are gathered as the card names them, so the card's seed has to be that of the run. Files that
the card names by label are looked for from the working directory; what is not here is said.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from radiograph.core import Context, Site, UserError
from radiograph.evidence.probes.probe import ProbeCard

TOLERANCE = 1e-3
"""Of the standard deviation of the stored scores: what another order of sums may change."""


def unlike(card: ProbeCard, tensors: dict[str, NDArray[Any]], model: Any, ctx: Context) -> tuple[str, ...]:
    """What the model does otherwise than the file says.

    Raises:
        UserError: the texts are not here, or were drawn with another seed.
    """
    from radiograph.methods._probe.contrast import clean_texts, contrast_of
    from radiograph.methods._probe.samples import through
    from radiograph.probing import TEST, normalised

    if card.model.sha256 != model.identity.tensors_sha256:
        return ("the model is not the one that it was built on",)
    if card.seed != ctx.seed:
        raise UserError("its texts were drawn with another seed", fix=f"--seed {card.seed}", got=str(ctx.seed))
    contrast = contrast_of(card.data.contrast, ctx, model)
    sources = (card.data.negatives or "").split(", ") if card.data.negatives else ()
    clean = clean_texts(sources, ctx)
    found = through(model, contrast, clean, [Site.parse(card.site)], card.level, card.pool, ctx)
    said: list[str] = []
    if (contrast.sha256, found.negatives_sha256) != (card.data.sha256, card.data.negatives_sha256):
        said.append("its texts are not those of the card")
    samples = found.samples
    tested = samples.part == TEST
    scores = samples.by_unit(normalised(samples.values[0], card.normalise) @ tensors["w"])[tested]
    kind = np.select([samples.clean, samples.positive, samples.near_miss], [3, 1, 2], 0)[tested]
    stored = tensors["test_scores"]
    if len(scores) != len(stored) or not np.array_equal(kind, stored[:, 1]):
        return (*said, f"the model reads {len(scores)} test rows of other kinds, the file holds {len(stored)}")
    gap = float(np.abs(scores - stored[:, 0]).max() / max(float(stored[:, 0].std()), 1e-12))
    if not gap <= TOLERANCE:
        said.append(f"the model gives other test scores, by up to {gap:.2g} of their standard deviation")
    return tuple(said)
