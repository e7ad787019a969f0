"""Which texts fire? Ten windows that do, one of each tenth by strength, and ten that do not, half of them hard."""

from __future__ import annotations

from functools import partial

from radiograph.explanations._asking import as_data, lines, question
from radiograph.explanations.scorers._judging import Judged, Question, labels_read, named, numbered
from radiograph.store.chat import Ask

VERSION = "detect-1"


def questions(judged: Judged, feature: int, seed: int, explanation: str) -> list[Question]:
    """All windows in one question."""
    drawn = judged.drawn(feature, seed)
    if not drawn:
        return []
    texts = lines(numbered([context.text for context in drawn]))
    ask = Ask(
        question(VERSION, explanation=as_data(explanation), texts=texts), VERSION, partial(labels_read, n=len(drawn))
    )
    return [
        Question(
            "detection",
            ask,
            tuple(named(context) for context in drawn),
            tuple(context.window for context in drawn),
            tuple(float(context.fires) for context in drawn),
        )
    ]
