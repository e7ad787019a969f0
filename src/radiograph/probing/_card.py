"""The published numbers of a probe, derived from its test scores alone, and what it takes to be `calibrated`.

The lower end of the AUROC's interval above .7 and above the 95 % points of permuted labels and of random directions;
the choice of the site above that of permuted labels (p ≤ .05); the upper end of the false positive rate at most .01;
20 groups a class in test. Anything else is `uncalibrated`, and gives no band.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from radiograph.core.shapes import Float64
from radiograph.evidence.probes.probe import (
    ProbeAuroc,
    ProbeCard,
    ProbeControls,
    ProbeCounts,
    ProbeData,
    ProbeFpr,
    ProbeGroups,
    ProbeKind,
    ProbeModel,
    ProbeTpr,
    ProbeTried,
)
from radiograph.numerics.criteria import length_auroc, word_auroc
from radiograph.numerics.design import words
from radiograph.numerics.probes import Candidate, Searched, correlation, group_size, rate, separation
from radiograph.probing._samples import CALIBRATE, FEWEST_GROUPS, FIT, TEST, Samples
from radiograph.store.probes import weights_sha256

if TYPE_CHECKING:
    from radiograph.probing._build import Settings

LEAST_AUROC = 0.7
LARGEST_FPR = 0.01
LEVEL = 0.05


@dataclass(frozen=True)
class About:
    """What a probe is called, and where its data come from."""

    name: str
    kind: ProbeKind
    model: ProbeModel
    contrast: str
    contrast_sha256: str
    negatives: str | None = None
    negatives_sha256: str | None = None
    stamps: tuple[str, ...] = ()


class Measured(NamedTuple):
    """What follows from test scores and a threshold."""

    auroc: ProbeAuroc
    fpr: ProbeFpr
    tpr: ProbeTpr
    counts: ProbeCounts
    groups: tuple[int, int]
    """With a positive row, and with a negative one of the contrast."""


def measured(test: NDArray[np.float32], cut: float, target: float) -> Measured:
    """From rows of score, kind and group; see `store.probes`."""
    scores, kind, group = test[:, 0].astype(np.float64), test[:, 1], test[:, 2].astype(np.int64)
    positive, near, clean = kind == 1, kind == 2, kind == 3
    contrast = ~clean
    found = separation(scores[contrast], positive[contrast], group[contrast])
    beside = positive | near
    apart = separation(scores[beside], positive[beside], group[beside]) if near.any() else None
    fpr, rho = _rate(scores[~positive], group[~positive], cut)
    tpr, _ = _rate(scores[positive], group[positive], cut)
    return Measured(
        ProbeAuroc(
            estimate=found.area,
            interval=(found.interval.low, found.interval.high),
            near_miss=None if apart is None else (apart.interval.low, apart.interval.high),
        ),
        ProbeFpr(
            target=target,
            estimate=fpr.estimate,
            interval=(fpr.interval.low, fpr.interval.high),
            rho=rho,
            flagged=fpr.flagged,
            n=fpr.n,
            effective=fpr.effective,
        ),
        ProbeTpr(estimate=tpr.estimate, interval=(tpr.interval.low, tpr.interval.high)),
        ProbeCounts(
            positive=int(positive.sum()),
            negative=int((~positive).sum()),
            near_miss=int(near.sum()),
            clean=int(clean.sum()),
        ),
        found.groups,
    )


def _rate(scores: Float64[np.ndarray, " row"], group: NDArray[np.int64], cut: float) -> tuple[Any, float]:
    rho = correlation(scores, group, cut)
    return rate(int((scores > cut).sum()), len(scores), group_size(group), rho), rho


def failing_of(found: Measured, controls: ProbeControls) -> tuple[str, ...]:
    """Conditions of `calibrated` that are not met, in words."""
    low = found.auroc.interval[0]
    rules = (
        (low > LEAST_AUROC, f"lower end of the AUROC {low:.3f}, not above {LEAST_AUROC}"),
        (
            low > controls.shuffled_q95,
            f"lower end of the AUROC {low:.3f}, not above permuted labels ({controls.shuffled_q95:.3f})",
        ),
        (
            low > controls.random_q95,
            f"lower end of the AUROC {low:.3f}, not above random directions ({controls.random_q95:.3f})",
        ),
        (controls.search_p <= LEVEL, f"the search finds as much on permuted labels (p = {controls.search_p:.3f})"),
        (found.fpr.interval[1] <= LARGEST_FPR, f"FPR may be {found.fpr.interval[1]:.2%}, above {LARGEST_FPR:.0%}"),
        (min(found.groups) >= FEWEST_GROUPS, f"{min(found.groups)} test groups in a class, fewer than {FEWEST_GROUPS}"),
    )
    return tuple(text for holds, text in rules if not holds)


def reads_text(auroc: ProbeAuroc, words_auroc: float | None, embed: float | None) -> bool:
    """Whether words, or the embedding, tell the classes apart as well."""
    surface = max(words_auroc or 0.0, embed or 0.0)
    return surface > 0 and auroc.interval[0] <= surface


def card_of(
    samples: Samples,
    settings: Settings,
    about: About,
    tensors: Mapping[str, NDArray[Any]],
    tried: Candidate,
    searched: Searched,
    nulls: Mapping[str, Float64[np.ndarray, " draw"]],
    embed: float | None,
) -> ProbeCard:
    """Everything that the tensors and the nulls say."""
    found = measured(tensors["test_scores"], float(tensors["threshold"]), settings.fpr)
    by_words, by_length = _surface(samples)
    controls = ProbeControls(
        shuffled_q95=float(np.quantile(nulls["test"], 0.95)),
        shuffled_search_q95=float(np.quantile(nulls["search"], 0.95)),
        search=float(searched.reached[0]),
        search_p=searched.p,
        draws=len(nulls["search"]),
        random_q95=float(np.quantile(nulls["random"], 0.95)),
        words=by_words,
        length=by_length,
        embed=embed,
    )
    failing = failing_of(found, controls)
    stamps = (*about.stamps, *(("reads_text",) if reads_text(found.auroc, by_words, embed) else ()))
    held = (samples.part == CALIBRATE) & ~samples.positive
    groups = [len(np.unique(samples.group[samples.part == part])) for part in (FIT, CALIBRATE, TEST)]
    return ProbeCard(
        name=about.name,
        kind=about.kind,
        status="uncalibrated" if failing else "calibrated",
        failing=failing,
        stamps=stamps,
        level=samples.level,
        pool=samples.pool,
        normalise=settings.normalise,
        method="fixed" if settings.fixed is not None else tried.method,
        strength=tried.strength or None,
        site=samples.sites[tried.site],
        d=samples.values[tried.site].shape[1],
        model=about.model,
        weights_sha256=weights_sha256(tensors),
        data=ProbeData(
            contrast=about.contrast,
            sha256=about.contrast_sha256,
            negatives=about.negatives,
            negatives_sha256=about.negatives_sha256,
            groups=ProbeGroups(fit=groups[0], calibrate=groups[1], test=groups[2]),
            n_test=found.counts,
            n_calibrate=int(held.sum()),
            groups_calibrate=len(np.unique(samples.group[held])),
        ),
        auroc=found.auroc,
        fpr=found.fpr,
        tpr=found.tpr,
        controls=controls,
        tried=ProbeTried(sites=len(samples.sites), methods=len(settings.methods), folds=settings.folds),
        seed=settings.seed,
        made_by=f"radiograph {version('radiograph')}",
    )


def _surface(samples: Samples) -> tuple[float | None, float | None]:
    """Words and length of the texts, learned on fit and measured on test and the other way round."""
    contrast = ~samples.clean & (samples.part != CALIBRATE)
    number = np.unique(samples.text[contrast])
    texts = [samples.texts[i] for i in number.tolist()]
    if not texts or any(text is None for text in texts):
        return None, None
    label = np.zeros(len(samples.texts), dtype=bool)
    np.logical_or.at(label, samples.text[contrast], samples.positive[contrast])
    first = np.zeros(len(samples.texts), dtype=bool)
    first[samples.text[contrast]] = samples.part[contrast] == FIT
    split = [words(text or "") for text in texts]
    lengths = np.array([len(one) for one in split], dtype=np.float64)
    return word_auroc(split, label[number], first[number]), length_auroc(lengths, label[number], first[number])
