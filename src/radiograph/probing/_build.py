"""From labelled activations to a probe: chosen and fitted on one part, calibrated on another, measured on the third.

1. site, method and strength by k-fold inside *fit* (`numerics.probes.search`); the direction from all of fit
2. the threshold from the negatives of *calibrate*, clean text included; support from the rows of both
3. on *test*: AUROC against the contrast's negatives, FPR over all negatives, TPR, each with an interval over groups
4. controls: labels permuted with the search repeated (of the choice inside fit, and on test), random directions with
   the covariance of clean text, words and length of the text, the same probe on the embedding
5. `calibrated` if nothing in `failing_of` fails

A direction that is given (`fixed`) is not fitted; everything else is as above.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from radiograph.core import Refusal, UserError, derive
from radiograph.core.shapes import Float, Float64
from radiograph.evidence.probes.probe import ProbeCard, ProbeNormalise, SiteTried
from radiograph.numerics.probes import (
    QUANTILES,
    Method,
    Searched,
    areas,
    cells_of,
    covariance,
    directions,
    permuted,
    prepared,
    search,
    support_of,
    threshold,
)
from radiograph.numerics.probes import Candidate as Tried
from radiograph.probing._card import About, card_of
from radiograph.probing._samples import (
    CALIBRATE,
    FIT,
    TEST,
    Samples,
    check_classes,
    lengths,
    normalised,
)

_GRID = np.linspace(0, 1, QUANTILES)


@dataclass(frozen=True)
class Settings:
    """How a probe is built."""

    methods: tuple[Method, ...] = ("mean_difference",)
    normalise: ProbeNormalise = "rms"
    fpr: float = 0.002
    folds: int = 5
    draws: int = 200
    """Permutations, and random directions; `logistic` permutes at most 50 times."""
    seed: int = 0
    fixed: NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False)
class Built:
    """A probe, and what its numbers are derived from."""

    card: ProbeCard
    tensors: dict[str, NDArray[Any]]
    candidates: tuple[SiteTried, ...]
    nulls: dict[str, Float64[np.ndarray, " draw"]]
    """`search` and `test` on permuted labels, `random` directions on test."""


@dataclass(frozen=True, eq=False)
class _Chosen:
    """What the search settled on, under every labelling."""

    searched: Searched
    rows: list[NDArray[np.float32]]
    """Of every site, normalised."""
    w: Float64[np.ndarray, " width"]
    site: int
    tried: Tried
    shuffled: Float64[np.ndarray, " draw"]
    """Test AUROC on permuted labels."""


def build(samples: Samples, settings: Settings, about: About, tell: Callable[[str], None] = lambda _: None) -> Built:
    """Build a probe; `tell` is told what is going on.

    Raises:
        Refusal: `one_class`, `few_groups`, `too_few_negatives`, `no_difference`.
    """
    contrast = ~samples.clean
    check_classes(samples.positive[contrast], samples.group[contrast])
    for part in (FIT, TEST):
        _check_part(samples, part)
    tell("search")
    chosen = _chosen(samples, settings)
    rows = chosen.rows[chosen.site]
    w = chosen.w.astype(np.float32)
    scores = samples.by_unit(rows @ w)
    held = (samples.part == CALIBRATE) & ~samples.positive
    cut = threshold(scores[held], settings.fpr)
    tell("controls")
    nulls = {
        "search": chosen.searched.reached[1:],
        "test": chosen.shuffled,
        "random": _random(samples, chosen, settings),
    }
    support = _support(samples, chosen, scores)
    tested = samples.part == TEST
    kind = np.select([samples.clean, samples.positive, samples.near_miss], [3, 1, 2], 0)
    tensors: dict[str, NDArray[Any]] = {
        "w": w,
        "threshold": np.array(cut, dtype=np.float64),
        "mean": support.mean,
        "whiten": support.whiten,
        "support_quantiles": np.vstack([support.distance, support.length]).astype(np.float32),
        "calibration_negatives": np.quantile(scores[held], _GRID).astype(np.float32),
        "test_scores": np.stack([scores[tested], kind[tested], samples.group[tested]], axis=1).astype(np.float32),
    }
    card = card_of(samples, settings, about, tensors, chosen.tried, chosen.searched, nulls, _embed(samples, chosen))
    return Built(card, tensors, tuple(_listed(samples, chosen)), nulls)


def _chosen(samples: Samples, settings: Settings) -> _Chosen:
    rows = [normalised(values, settings.normalise) for values in samples.values]
    fit = (samples.part == FIT) & ~samples.clean
    test = (samples.part == TEST) & ~samples.clean
    cells = cells_of(samples.positive[fit], samples.group[fit])
    held = cells_of(samples.positive[test], samples.group[test])
    draws = min(settings.draws, 50) if "logistic" in settings.methods else settings.draws
    labels = permuted(cells, draws, derive(settings.seed, "labels"))
    truth = permuted(held, draws, derive(settings.seed, "test labels"))[:, held.cell].T
    means = [samples.means(values) for values in rows]
    if settings.fixed is not None:
        return _given(samples, settings, rows, means, labels[:, cells.cell].T, truth)
    plain = samples.clean & (samples.part == FIT)
    searched = search(
        [one[fit] for one in means],
        [one[plain] for one in means],
        cells,
        labels,
        settings.methods,
        folds=settings.folds,
        seed=derive(settings.seed, "folds"),
    )
    shuffled = np.empty(draws)
    own = np.zeros(0)
    for place in np.unique(searched.chosen):
        one = searched.candidates[place]
        mine = np.flatnonzero(searched.chosen == place)
        apart = covariance(means[one.site][plain]) if plain.sum() > 1 else None
        found = directions(prepared(means[one.site][fit], cells, apart), labels[mine], one.method, one.strength)
        scores = samples.by_unit(rows[one.site] @ found.T.astype(np.float32))[test]
        reached = areas(scores, truth[:, mine])
        shuffled[mine[mine > 0] - 1] = reached[mine > 0]
        if mine[0] == 0:
            own = found[0]
    tried = searched.candidates[searched.chosen[0]]
    if not own.any():
        raise Refusal("no_difference", "the two classes have the same activations: there is no direction between them")
    return _Chosen(searched, rows, own, tried.site, tried, shuffled)


def _given(
    samples: Samples,
    settings: Settings,
    rows: list[NDArray[np.float32]],
    means: Sequence[NDArray[np.float32]],
    labels: NDArray[np.bool_],
    truth: NDArray[np.bool_],
) -> _Chosen:
    """A direction that is kept as it is: nothing is chosen, so that permuted labels meet the same scores."""
    w = settings.fixed
    assert w is not None
    if len(samples.sites) != 1 or rows[0].shape[1] != len(w):
        got = f"{len(samples.sites)} sites" if len(samples.sites) != 1 else f"width {rows[0].shape[1]}"
        raise UserError(
            "a direction that is given belongs to one site", expected=f"--site SITE of width {len(w)}", got=got
        )
    scores = samples.by_unit(rows[0] @ w)
    fit, test = ((samples.part == part) & ~samples.clean for part in (FIT, TEST))
    reached = areas(np.repeat(scores[fit][:, None], labels.shape[1], axis=1), labels)
    shuffled = areas(np.repeat(scores[test][:, None], truth.shape[1], axis=1), truth)[1:]
    tried = Tried(0, "mean_difference", 0.0)
    searched = Searched((tried,), reached[None], np.zeros((1, len(reached))), np.zeros(len(reached), dtype=np.int64))
    unit = w.astype(np.float64) / float(np.linalg.norm(w.astype(np.float64)))
    return _Chosen(searched, rows, unit, 0, tried, shuffled)


def _random(samples: Samples, chosen: _Chosen, settings: Settings) -> Float64[np.ndarray, " draw"]:
    """Directions with the covariance of clean text, each turned as the fit says."""
    rows = chosen.rows[chosen.site]
    fit, test = ((samples.part == part) & ~samples.clean for part in (FIT, TEST))
    plain = (samples.clean if samples.clean.any() else ~samples.positive) & (samples.part == FIT)
    root: Any = np.linalg.cholesky(covariance(samples.means(rows)[plain]))
    rng = np.random.default_rng(derive(settings.seed, "random directions"))
    w = rng.standard_normal((settings.draws, rows.shape[1])) @ root.T
    scores = samples.by_unit(rows @ w.T.astype(np.float32))
    seen = areas(scores[fit], np.repeat(samples.positive[fit][:, None], len(w), axis=1))
    found = areas(scores[test], np.repeat(samples.positive[test][:, None], len(w), axis=1))
    return np.where(seen >= 0.5, found, 1 - found)


def _support(samples: Samples, chosen: _Chosen, scores: Float[np.ndarray, " unit"]) -> Any:
    """Of a unit with several rows the one that its score is of."""
    rows = chosen.rows[chosen.site]
    raw = samples.values[chosen.site]
    if len(samples.unit) != len(scores):
        own = rows @ chosen.w.astype(np.float32)
        first = np.flatnonzero(own == scores[samples.unit])
        _, place = np.unique(samples.unit[first], return_index=True)
        rows, raw = rows[first[place]], raw[first[place]]
    fit, held = samples.part == FIT, samples.part == CALIBRATE
    contrast = fit & ~samples.clean
    means = samples.means(chosen.rows[chosen.site])
    delta = means[contrast & samples.positive].mean(axis=0, dtype=np.float64)
    delta = delta - means[contrast & ~samples.positive].mean(axis=0, dtype=np.float64)
    return support_of(rows[fit], rows[held], lengths(raw[held]), samples.kind[held], delta)


def _embed(samples: Samples, chosen: _Chosen) -> float | None:
    """Test AUROC of the same method on the embedding."""
    if samples.embed is None:
        return None
    rows = normalised(samples.embed, "rms")
    fit, test = ((samples.part == part) & ~samples.clean for part in (FIT, TEST))
    cells = cells_of(samples.positive[fit], samples.group[fit])
    means = samples.means(rows)
    plain = samples.clean & (samples.part == FIT)
    apart = covariance(means[plain]) if plain.sum() > 1 else None
    w = directions(prepared(means[fit], cells, apart), cells.positive[None], chosen.tried.method, chosen.tried.strength)
    scores = samples.by_unit(rows @ w[0].astype(np.float32))[test]
    return float(areas(scores[:, None], samples.positive[test][:, None])[0])


def _listed(samples: Samples, chosen: _Chosen) -> list[SiteTried]:
    found = chosen.searched
    return [
        SiteTried(
            site=samples.sites[one.site],
            method=one.method,
            strength=one.strength or None,
            auroc=float(found.area[place, 0]),
            error=float(found.error[place, 0]),
            chosen=place == int(found.chosen[0]),
        )
        for place, one in enumerate(found.candidates)
    ]


def _check_part(samples: Samples, part: int) -> None:
    inside = (samples.part == part) & ~samples.clean
    if len(np.unique(samples.positive[inside])) < 2:
        raise Refusal(
            "one_class",
            f"the part to {'fit' if part == FIT else 'test'} on has one class",
            expected="positive and negative rows in every part",
            got=f"{int(samples.positive[inside].sum())} positive of {int(inside.sum())}",
            fix="give more groups; near-duplicates are one group",
        )
