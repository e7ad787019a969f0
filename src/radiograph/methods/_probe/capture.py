"""Texts through a model: the rows of what is marked, at some sites, pooled where a probe reads whole texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radiograph.core import Site, derive
from radiograph.evidence.probes.probe import ProbeLevel, ProbePool
from radiograph.methods._probe.tokens import Tokens

BATCH_TOKENS = 8192


@dataclass(frozen=True, eq=False)
class Captured:
    """Rows at every site, in the order of the texts and their tokens."""

    rows: dict[str, NDArray[np.float32]]
    owner: NDArray[np.int64]
    """Number of the text."""
    position: NDArray[np.int64]


def captured(
    model: Any,
    texts: Sequence[Tokens],
    sites: Sequence[Site],
    level: ProbeLevel,
    pool: ProbePool | None,
    task: Any = None,
) -> Captured:
    """What the model has at the marked tokens; of whole texts the pooled row (`max`: every marked token).

    Raises:
        UserError: a token outside the vocabulary, a value that is not finite.
    """
    from radiograph.models import stream

    whole = level == "sequence" and pool in ("mean", "last")
    picked = [np.flatnonzero(text.marked) for text in texts]
    if level == "sequence" and pool == "last":
        picked = [np.array([text.final]) for text in texts]
    counts = np.array([1 if whole else len(places) for places in picked], dtype=np.int64)
    ends = np.cumsum(counts)
    rows = {str(site): np.empty((int(ends[-1]), model.site_width(site)), np.float32) for site in sites}
    for batch, found in stream(model, [list(text.ids) for text in texts], sites, batch_tokens=BATCH_TOKENS):
        for site, values in found.items():
            table = values.float().cpu().numpy()
            for line, number in enumerate(batch.rows):
                own = table[line, picked[number]]
                rows[str(site)][ends[number] - counts[number] : ends[number]] = (
                    own.mean(axis=0, keepdims=True) if whole else own
                )
        if task is not None:
            task.advance(len(batch.rows))
    owner = np.repeat(np.arange(len(texts)), counts)
    position = np.concatenate([places[-1:] if whole else places for places in picked])
    return Captured(rows, owner, position.astype(np.int64))


def thinned(texts: Sequence[Tokens], most: int, seed: int) -> list[Tokens]:
    """Texts with at most so many marked tokens each, drawn: tokens of one text say much the same."""
    out: list[Tokens] = []
    for text in texts:
        places = np.flatnonzero(text.marked)
        if len(places) > most:
            rng = np.random.default_rng(derive(seed, "thinned", text.id))
            marked = np.zeros(len(text.marked), dtype=bool)
            marked[rng.choice(places, most, replace=False)] = True
            text = replace(text, marked=marked)
        out.append(text)
    return out
