"""Feature shifts of a suite in one dictionary, with the control that says whether features add anything.

1. encode both models on the neutral bank and on the suite (`_encoding`), with the dictionary and with random ones
2. hand the pooled activations to `FeatureShifts`, which scores them
3. the same score under random dictionaries of the same size and sparsity: what activation distance alone would give
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from radiograph.core import Progress, Site, derive
from radiograph.detectors._shifts import FeatureSettings, FeatureShifts
from radiograph.detectors.measure._banks import Banks
from radiograph.detectors.measure._encoding import Pooled, encode_pair, site_rows
from radiograph.dictionaries import Dictionary, random_control
from radiograph.evidence import RandomControl
from radiograph.models import Pair
from radiograph.numerics import FeatureScores, NeutralDrift

CONTROL_ROWS = 2048
"""Neutral rows on which random dictionaries get the real one's sparsity."""


def measure_features(
    pair: Pair, banks: Banks, dictionary: Dictionary, settings: FeatureSettings, seed: int, progress: Progress
) -> FeatureShifts:
    """Encode, score, control."""
    pair.check_tokenizers()
    with progress.task("encoding", total=2) as task:
        calm = banks.neutral or banks.rendered
        rows = site_rows(pair.reference, calm, Site.parse(dictionary.site), settings.reduce, CONTROL_ROWS)
        controls = [
            random_control(dictionary, rows, seed=derive(seed, "control", number))
            for number in range(settings.controls)
        ]
        codecs = [dictionary, *controls]
        neutral = encode_pair(pair, codecs, banks.neutral, settings.reduce) if banks.neutral else []
        task.advance()
        suite = encode_pair(pair, codecs, banks.rendered, settings.reduce)
        task.advance()
    seen = [suite[0], *neutral[:1]]
    shifts = _shifts(banks, settings, suite[0], neutral[0] if neutral else None, seed)
    random = [
        replace(shifts, reference=pool.reference, candidate=pool.candidate, neutral=_drift(calm))
        for pool, calm in zip(suite[1:], neutral[1:] or [None] * len(controls), strict=True)
    ]
    scores = [control.scored(settings.method) for control in random]
    return replace(
        shifts,
        control=RandomControl(
            scores=tuple(s.score for s in scores if isinstance(s, FeatureScores)),
            share_outside=tuple(share for pool in suite[1:] if (share := _share_outside(pool)) is not None),
            l0=float(seen[-1].active.sum() / seen[-1].n_tokens.sum()),
        ),
    )


def _shifts(banks: Banks, settings: FeatureSettings, suite: Pooled, neutral: Pooled | None, seed: int) -> FeatureShifts:
    seen = [suite, *([neutral] if neutral else [])]
    total = sum(int(pool.n_tokens.sum()) for pool in seen)
    mean = np.sum([pool.sums for pool in seen], axis=0) / total
    variance = np.sum([pool.squares for pool in seen], axis=0) / total - mean**2
    numbers: dict[tuple[int, ...], int] = {}
    return FeatureShifts(
        settings=settings,
        ids=tuple(p.id for p in banks.prompts),
        groups=tuple(p.group or p.id for p in banks.prompts),
        reference=suite.reference,
        candidate=suite.candidate,
        n_tokens=suite.n_tokens,
        missed=suite.missed,
        moved=suite.shift,
        neutral=_drift(neutral),
        sd=np.sqrt(np.maximum(variance, 0.0)),
        density=np.sum([pool.active for pool in seen], axis=0) / total,
        control=RandomControl(scores=(), share_outside=(), l0=0.0),
        distinct=np.array([numbers.setdefault(ids, len(numbers)) for ids in banks.tokens]),
        seed=seed,
    )


def _drift(neutral: Pooled | None) -> NeutralDrift | None:
    if neutral is None:
        return None
    return NeutralDrift((neutral.candidate - neutral.reference).mean(axis=0), len(neutral.reference))


def _share_outside(pool: Pooled) -> float | None:
    total = float(pool.shift.sum())
    return float(pool.missed.sum()) / total if total > 0 else None
