"""Words without an endpoint: the heuristic explainer on recorded tokens, and the tokens of the counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from radiograph.core import Refusal, derive
from radiograph.methods.decompose._label.shown import explains

if TYPE_CHECKING:
    from radiograph.evidence.explanations import FeatureExplanation
    from radiograph.explanations import Material
    from radiograph.store.components import ComponentStatistics

WINDOW = 32
LEAST_F1 = 0.5
MOST = 3
COVERED = 1 / 3


def rules_of(material: Material | None, numbers: list[int], seed: int) -> dict[int, FeatureExplanation]:
    """What the heuristic explainer says of components, from documents that are not kept for scoring."""
    from radiograph.explanations import CHECK, LEARN, Study, explainer

    if material is None:
        return {}
    kept = np.array([explains(seed, name.rpartition("#")[0]) for name in material.passages.names], bool)
    own = material.choose(numbers).take(kept)
    names = sorted(set(own.passages.groups))
    if len(names) < 3:
        return {}
    try:
        order = sorted(names, key=lambda name: derive(seed, "check", name))
        checking = set(order[: max(1, len(order) // 3)])
        part = np.array([CHECK if group in checking else LEARN for group in own.passages.groups], np.int64)
        said = explainer("heuristic").explain(Study(own, part, derive(seed, "explain") % 2**32, WINDOW, LEAST_F1))
    except Refusal:
        return {}
    return dict(zip(numbers, said.explanations, strict=True))


def tokens_said(given: ComponentStatistics, number: int, side: str) -> str | None:
    """Up to three tokens: those that cover enough of the firings, or those it makes likeliest beside chance."""
    if side == "inputs":
        counts = given.inputs(number)
        order = np.lexsort((np.arange(len(counts.count)), -counts.count))[:MOST]
        total = counts.count.sum()
        if not total or counts.count[order].sum() < COVERED * total:
            return None
        names = [given.vocabulary[int(counts.tokens[n])] for n in order if counts.count[n] > 0]
        return "fires on " + ", ".join(f"“{name.strip()}”" for name in names)
    counts = given.outputs(number)
    top = counts.top[:MOST]
    names = [given.vocabulary[int(counts.tokens[n])] for n in top.tolist() if counts.ratios.pmi[n] > np.log(2)]
    return "before " + ", ".join(f"“{name.strip()}”" for name in names) if names else None
