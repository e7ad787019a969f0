"""Cheap signs of a good explanation, and how far they go with a measured one. They are proxies and enter no grade.

entropy      bits of the distribution of tokens that fire the feature: few tokens, little
similarity   mean cosine between the words of its strongest windows
logits       share of promoted tokens among the tokens that follow where it fires
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from radiograph.evidence.explanations import FeatureExplanation, FeatureScore, Proxies
from radiograph.explanations.texts._contexts import Windowed

_TOP = 10
_LEAST = 10
NAMES = ("entropy", "similarity", "logits")


def proxies(explanations: Sequence[FeatureExplanation], windowed: Windowed) -> list[Proxies]:
    """One a feature, in the order of the reserved records."""
    return [
        Proxies(
            feature=e.feature,
            entropy=None if e.statistics is None else e.statistics.entropy,
            similarity=_similarity(windowed, place),
            logits=_logits(windowed, place, {pushed.token.strip() for pushed in e.promoted}),
        )
        for place, e in enumerate(explanations)
    ]


def agreement(found: Sequence[Proxies], scores: Sequence[FeatureScore]) -> dict[str, float | None]:
    """Spearman's ρ of each proxy with a score over features; None under ten of them."""
    from scipy.stats import spearmanr  # pyright: ignore[reportUnknownVariableType, reportMissingTypeStubs]

    value = {score.feature: score.value for score in scores}
    out: dict[str, float | None] = {}
    for name in NAMES:
        pairs = [(getattr(p, name), value.get(p.feature)) for p in found]
        known = np.array([pair for pair in pairs if None not in pair], np.float64).reshape(-1, 2)
        varies = len(known) >= _LEAST and bool((np.ptp(known, axis=0) > 0).all())
        out[name] = float(np.asarray(spearmanr(known[:, 0], known[:, 1]))[0]) if varies else None  # pyright: ignore[reportUnknownArgumentType]
    return out


def _similarity(windowed: Windowed, place: int) -> float | None:
    top = windowed.firing(place)[:_TOP]
    if len(top) < 2:
        return None
    rows: Any = windowed.words[top]
    length = np.sqrt(np.asarray(rows.sum(axis=1)).reshape(-1))
    same = np.asarray((rows @ rows.T).todense(), np.float64) / np.outer(length, length)
    return float((same.sum() - len(top)) / (len(top) * (len(top) - 1)))


def _logits(windowed: Windowed, place: int, promoted: set[str]) -> float | None:
    if not promoted:
        return None
    passages = windowed.material.passages
    own: Any = windowed.material.fires[place]
    following = own.indices.astype(np.int64) + 1
    following = following[following < len(passages.tokens)]
    following = following[passages.text_of[following] == passages.text_of[following - 1]]
    if not len(following):
        return None
    return float(np.mean([str(word) in promoted for word in passages.words[passages.tokens[following]]]))
