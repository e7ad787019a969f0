"""Are the marked tokens the right ones? Ten firing windows, each once with its own tokens marked and once with others.

The two forms of a window stand in different questions, half of each question right: a judge that compares forms learns
nothing. As many other tokens are marked as fire, drawn among the silent ones of the window.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from radiograph.core import derive
from radiograph.explanations._asking import as_data, lines, marked_text, question
from radiograph.explanations.scorers._judging import Judged, Question, labels_read, named, numbered
from radiograph.explanations.texts._contexts import Context
from radiograph.store.chat import Ask

VERSION = "fuzz-1"
_LEAST = 4


def questions(judged: Judged, feature: int, seed: int, explanation: str) -> list[Question]:
    """Two questions with every window in each."""
    rng = np.random.default_rng(derive(seed, "fuzzing", judged.windowed.material.ids[feature]))
    drawn = [context for context in judged.drawn(feature, seed) if context.fires]
    both = [(context, _marks(context, rng)) for context in drawn]
    both = [(context, marks) for context, marks in both if marks is not None]
    if len(both) < _LEAST:
        return []
    out: list[Question] = []
    for turn in (0, 1):
        order = rng.permutation(len(both))
        right = {int(n): (place + turn) % 2 == 0 for place, n in enumerate(range(len(both)))}
        shown = [(both[n][0], both[n][1][0 if right[int(n)] else 1], right[int(n)]) for n in order]
        texts = lines(numbered([marked_text(context.tokens, marks) for context, marks, _ in shown]))
        ask = Ask(
            question(VERSION, explanation=as_data(explanation), texts=texts),
            VERSION,
            partial(labels_read, n=len(shown)),
        )
        out.append(
            Question(
                "fuzzing",
                ask,
                tuple(f"{named(context)}{'+' if true else '-'}" for context, _, true in shown),
                tuple(context.window for context, _, _ in shown),
                tuple(float(true) for _, _, true in shown),
            )
        )
    return out


def _marks(context: Context, rng: np.random.Generator) -> tuple[list[bool], list[bool]] | None:
    """Its own marks, and as many others; None where too few tokens are silent."""
    fires = context.strong
    silent = np.flatnonzero(context.values <= 0)
    if len(silent) < fires.sum():
        return None
    other = np.zeros(len(fires), bool)
    other[rng.permutation(silent)[: int(fires.sum())]] = True
    return fires.tolist(), other.tolist()
