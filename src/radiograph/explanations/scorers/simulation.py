"""How strongly does each token fire? Windows that fire the most, and windows drawn at random, kept apart.

One window a question; the answer is a whole number from 0 to 10 for each of its tokens, compared with the true values
by Pearson's correlation over all tokens (Bills et al. 2023).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from radiograph.core import derive
from radiograph.explanations._asking import SCALE, as_data, question
from radiograph.explanations.scorers._judging import Judged, Question, named
from radiograph.explanations.texts._contexts import LEAST
from radiograph.store.chat import Ask, json_object

VERSION = "simulate-1"
_EACH = 5
_POOL = 20


def questions(judged: Judged, feature: int, seed: int, explanation: str) -> list[Question]:
    """A question a window."""
    windowed = judged.windowed
    firing = windowed.firing(feature)
    if len(firing) < LEAST:
        return []
    rng = np.random.default_rng(derive(seed, "simulation", windowed.material.ids[feature]))
    long = np.flatnonzero(windowed.windows.last - windowed.windows.first >= 4)
    top = rng.permutation(firing[:_POOL])[:_EACH]
    others = rng.permutation(np.setdiff1d(long, top))[:_EACH]
    out: list[Question] = []
    for scorer, windows in (("simulation_top", top), ("simulation_random", others)):
        for window in windows.tolist():
            context = windowed.context(feature, int(window), "random")
            n = len(context.tokens)
            tokens = "[" + ", ".join(as_data(token) for token in context.tokens) + "]"
            ask = Ask(
                question(VERSION, explanation=as_data(explanation), tokens=tokens), VERSION, partial(_values, n=n)
            )
            items = tuple(f"{named(context)}:{place}" for place in range(n))
            out.append(Question(scorer, ask, items, (context.window,) * n, tuple(map(float, context.values))))
    return out


def _values(answer: str, n: int) -> list[float]:
    values: Any = json_object(answer).get("values")
    fits = isinstance(values, list) and len(values) == n
    if not fits or not all(isinstance(v, int | float) and not isinstance(v, bool) and 0 <= v <= SCALE for v in values):
        got = len(values) if isinstance(values, list) else "none"
        raise ValueError(f'"values" must be a list of {n} numbers from 0 to {SCALE}, got {got}')
    return [float(v) for v in values]
