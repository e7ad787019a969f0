"""One number for a text, 0 fine to 1 collapsed: a logistic score in metrics that only damage raises.

1. features in [0, 1], larger is worse (`FEATURES`): three loop shares, rep-1 and rep-4, missing entropy, bytes that
   zlib saves beyond healthy text of equal length, symbols, largest character, control characters, script switches,
   strange letters, misplaced articles, few function words, and where a model measured it NLL below and above the band
   of healthy text
2. P(collapsed) = 1/(1 + e^(−b − w·x)), w ≥ 0, by maximum likelihood with a small ridge (L-BFGS-B): more damage never
   lowers it. Groups of related rows stay together in a fold; held-out scores alone enter ROC and threshold
3. threshold: the smallest that calls at most `false_alarms` of held-out healthy rows collapsed
4. `kind`: empty; symbols if they are half the text or control characters a tenth; else loop or salad, whichever part
   of w·x is larger
Source: Platt (1999) for the form; weights, tables and threshold come with the labelled set. Units: features are shares.
`not scored` below 8 tokens unless empty; empty is collapsed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from radiograph.core import UserError
from radiograph.core.shapes import Bool, Float64, Int64
from radiograph.numerics.repetition._text import TextMetrics, text_metrics

Kind = Literal["loop", "salad", "symbols", "empty"]
LOOP = ("loop", "soft_loop", "tail_loop", "rep_1", "rep_4", "low_entropy", "compressed", "nll_low")
SALAD = ("strange", "misplaced", "unbound", "script_switches", "nll_high")
SYMBOLS = ("symbols", "largest_character", "control")
FEATURES = (*LOOP, *SALAD, *SYMBOLS)
RIDGE = 1e-2
BAND = 20.0
"""MADs of the NLL at which its feature reaches 1."""
STRANGE = 2.5
"""Bits a letter beyond English at which letters begin to be strange; German text reaches it, drawn letters 4.5."""
_LETTERS = " abcdefghijklmnopqrstuvwxyz'"
_OTHER = re.compile(r"[^a-z']+")


@dataclass(frozen=True, eq=False)
class Letters:
    """Surprise of a letter given the two before it, in bits, in healthy English; words are parted by one space."""

    bits: Float64[np.ndarray, "first second letter"]
    usual: float
    """Median over healthy texts of the mean surprise."""
    scale: float
    """Median absolute deviation of it."""

    @classmethod
    def fit(cls, texts: Sequence[str]) -> Letters:
        """Counts of three letters, backed off to two and one, and how far healthy texts stray."""
        n = len(_LETTERS)
        counts = np.zeros((n, n, n))
        for text in texts:
            codes = _coded(text)
            np.add.at(counts, (codes[:-2], codes[1:-1], codes[2:]), 1)
        one: np.ndarray = (counts.sum((0, 1)) + 1) / (counts.sum() + n)
        two: np.ndarray = (counts.sum(0) + 5 * one) / (counts.sum((0, 2))[:, None] + 5)
        three: np.ndarray = (counts + 5 * two) / (counts.sum(2)[..., None] + 5)
        fitted = cls(np.round(-np.log2(three), 2), 0.0, 1.0)
        values = np.array([fitted.surprise(text) for text in texts])
        usual = float(np.median(values))
        return cls(fitted.bits, usual, float(max(np.median(np.abs(values - usual)), 0.05)))

    def surprise(self, text: str) -> float:
        """Mean bits a letter; `usual` where the text is too short or not in Latin letters."""
        letters = [c for c in text if c.isalpha()]
        latin = sum(c < "\u0250" for c in letters)
        if len(letters) < 20 or latin < 0.9 * len(letters):
            return self.usual
        codes = _coded(text)
        return float(self.bits[codes[:-2], codes[1:-1], codes[2:]].mean())


@dataclass(frozen=True, eq=False)
class CollapseScore:
    """Weights, threshold and what healthy text looks like."""

    weights: Mapping[str, float]
    intercept: float
    threshold: float
    lengths: tuple[int, ...]
    """Bytes, ascending."""
    ratios: tuple[float, ...]
    """Median zlib ratio of healthy text of that many bytes."""
    letters: Letters

    def features(self, text: str, metrics: TextMetrics, nll_band: float | None = None) -> dict[str, float]:
        """The features of a text; `nll_band` is (NLL a token − median)/MAD of healthy text, where it was measured."""
        places = [math.log(length) for length in self.lengths]
        usual = float(np.interp(math.log(max(metrics.n_bytes, 1)), places, self.ratios))
        strange = self.letters.surprise(text) - self.letters.usual
        band = 0.0 if nll_band is None else nll_band
        # Only where letters are English and hardly anything is a symbol: not in other languages, lists and code.
        prose = float(np.clip((STRANGE / 2 - strange) / 0.25, 0, 1)) * (metrics.symbols < 0.1)
        found = {
            "loop": (metrics.loop - 0.2) / 0.5,
            "soft_loop": (metrics.soft_loop - 0.2) / 0.5,
            "tail_loop": (metrics.tail_loop - 0.2) / 0.5,
            "rep_1": (metrics.rep_1 - 0.3) / 0.5,
            "rep_4": (metrics.rep_4 - 0.1) / 0.5,
            "low_entropy": 1 - metrics.entropy,
            "compressed": 1 - metrics.compression / usual,
            "nll_low": (-band - 2) / BAND,
            "strange": (strange - STRANGE) / 2,
            "misplaced": 5 * metrics.misplaced,
            "unbound": prose * (0.3 - metrics.bound) / 0.3,
            "script_switches": 5 * metrics.script_switches,
            "nll_high": (band - 2) / BAND,
            "symbols": (metrics.symbols - 0.3) / 0.3,
            "largest_character": (metrics.largest_character - 0.3) / 0.3,
            "control": metrics.control,
        }
        return {name: float(np.clip(found[name], 0.0, 1.0)) for name in FEATURES}

    def judge(self, text: str, metrics: TextMetrics | None = None, nll_band: float | None = None) -> Judged:
        """Score, verdict and kind of one text."""
        metrics = text_metrics(text) if metrics is None else metrics
        if metrics.empty:
            return Judged(1.0, True, "empty", {})
        features = self.features(text, metrics, nll_band)
        if not metrics.scored:
            return Judged(None, None, None, features)
        parts = {name: self.weights.get(name, 0.0) * value for name, value in features.items()}
        score = float(1 / (1 + np.exp(-self.intercept - sum(parts.values()))))
        collapsed = score >= self.threshold
        return Judged(score, collapsed, _kind(metrics, parts) if collapsed else None, features)


@dataclass(frozen=True, slots=True)
class Judged:
    """What the score says of one text; all None: not scored."""

    score: float | None
    collapsed: bool | None
    kind: Kind | None
    features: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class Fit:
    """Weights, and what held-out rows say of them."""

    weights: dict[str, float]
    intercept: float
    threshold: float
    held_out: Float64[np.ndarray, " row"]
    """Score of each row by weights that saw none of its group."""
    roc: float


def fit(
    features: Float64[np.ndarray, "row feature"],
    collapsed: Bool[np.ndarray, " row"],
    groups: Sequence[str],
    *,
    false_alarms: float = 0.05,
    folds: int = 10,
    names: Sequence[str] = FEATURES,
) -> Fit:
    """Weights of all rows, threshold and ROC area of held-out ones.

    Raises:
        UserError: fewer than 20 rows, or 5 groups, of a label.
    """
    for label, name in ((True, "collapsed"), (False, "fine")):
        rows: list[int] = np.flatnonzero(collapsed == label).tolist()
        if len(rows) < 20 or len({groups[i] for i in rows}) < 5:
            raise UserError(f"too few {name} rows to fit a score", expected="20 rows in 5 groups", got=str(len(rows)))
    fold = _folds(groups, folds)
    held_out = np.empty(len(features))
    for number in range(int(fold.max()) + 1):
        inside = fold == number
        weights = _logistic(features[~inside], collapsed[~inside])
        held_out[inside] = _probability(features[inside], weights)
    weights = _logistic(features, collapsed)
    return Fit(
        dict(zip(names, weights[1:].tolist(), strict=True)),
        float(weights[0]),
        threshold_at(held_out[~collapsed], false_alarms),
        held_out,
        roc_area(held_out, collapsed),
    )


def threshold_at(fine: Float64[np.ndarray, " row"], false_alarms: float) -> float:
    """The smallest threshold that calls at most that share of fine rows collapsed; never below one half."""
    ordered = np.sort(fine)[::-1]
    allowed = int(np.floor(false_alarms * len(fine)))
    return float(max(0.5, np.nextafter(ordered[min(allowed, len(ordered) - 1)], 2.0)))


def roc_area(scores: Float64[np.ndarray, " row"], collapsed: Bool[np.ndarray, " row"]) -> float:
    """Share of (collapsed, fine) pairs in the right order, ties half."""
    from scipy.stats import rankdata  # pyright: ignore[reportUnknownVariableType, reportMissingTypeStubs]

    ranks: np.ndarray = rankdata(scores)
    n1, n0 = int(collapsed.sum()), int((~collapsed).sum())
    return float((ranks[collapsed].sum() - n1 * (n1 + 1) / 2) / (n1 * n0))


def reliability(
    scores: Float64[np.ndarray, " row"], collapsed: Bool[np.ndarray, " row"], bins: int = 10
) -> list[dict[str, float]]:
    """Per tenth of the score: rows, mean score, share that is collapsed."""
    place = np.minimum((scores * bins).astype(int), bins - 1)
    rows = [(i, place == i) for i in range(bins)]
    return [
        {"low": i / bins, "n": int(m.sum()), "score": float(scores[m].mean()), "collapsed": float(collapsed[m].mean())}
        for i, m in rows
        if m.any()
    ]


def healthy_ratios(texts: Sequence[str], lengths: Sequence[int] = (32, 64, 128, 256, 512, 1024)) -> tuple[float, ...]:
    """Median zlib ratio of healthy text cut to each length; texts are joined until they are long enough."""
    import zlib

    joined = " ".join(texts).encode()
    medians: list[float] = []
    for length in lengths:
        step = max(length, len(joined) // 200)
        cuts = [joined[i : i + length] for i in range(0, len(joined) - length + 1, step)]
        medians.append(round(float(np.median([len(zlib.compress(cut, 9)) / length for cut in cuts])), 4))
    return tuple(medians)


def _coded(text: str) -> Int64[np.ndarray, " letter"]:
    plain = "  " + _OTHER.sub(" ", text.lower().replace("’", "'")).strip() + " "
    return np.array([_LETTERS.index(c) for c in plain])


def _kind(metrics: TextMetrics, parts: Mapping[str, float]) -> Kind:
    if metrics.symbols >= 0.5 or metrics.control >= 0.1:
        return "symbols"
    looped, strange = (sum(parts[name] for name in names) for names in (LOOP, SALAD))
    return "loop" if looped >= strange else "salad"


def _folds(groups: Sequence[str], folds: int) -> Int64[np.ndarray, " row"]:
    """Groups dealt out in the order of their names' hashes, so that kinds that are neighbours part."""
    import hashlib

    ordered = sorted(set(groups), key=lambda name: hashlib.sha256(name.encode()).digest())
    place = {name: number % folds for number, name in enumerate(ordered)}
    return np.array([place[name] for name in groups])


def _probability(features: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-(weights[0] + features @ weights[1:])))


def _logistic(features: np.ndarray, collapsed: np.ndarray) -> np.ndarray:
    """Intercept and weights; both labels count equally."""
    from scipy.optimize import minimize  # pyright: ignore[reportUnknownVariableType, reportMissingTypeStubs]

    table = np.concatenate([np.ones((len(features), 1)), features], axis=1)
    positive: np.ndarray = collapsed.astype(float)
    share: np.ndarray = 0.5 * (positive / positive.sum() + (1 - positive) / (1 - positive).sum())
    sign: np.ndarray = 2 * positive - 1

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (table @ weights)
        slope: np.ndarray = -share * sign / (1 + np.exp(margin))
        ridge = RIDGE / len(table) * np.concatenate([[0.0], weights[1:]])
        return float(share @ np.logaddexp(0, -margin) + ridge @ weights / 2), table.T @ slope + ridge

    bounds = [(None, None)] + [(0.0, None)] * features.shape[1]
    start = np.zeros(table.shape[1])
    found: Any = minimize(  # pyright: ignore[reportUnknownVariableType]
        loss, start, jac=True, bounds=bounds, method="L-BFGS-B", options={"maxiter": 2000}
    )
    return np.asarray(found.x, float)  # pyright: ignore[reportUnknownMemberType]
