"""One candidate, measured once for whoever asks: an audit, a calibration, a benchmark.

1. every detector: a plain one gives its score, a fitted one what it keeps of a model
2. what kind of change it is (`nuisance`): size, divergence on neutral text, drift, share of tensors, rank, kind
3. what benign models are compared by beside scores: flips of every set, maxima of the search and of the witnesses,
   agreement of wordings, random dictionaries
Nothing that could not be measured becomes a number. Bad input (`UserError`) stops it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from radiograph.core import Refusal, UserError
from radiograph.detectors import _catalogue as catalogue
from radiograph.detectors._measured import Measured
from radiograph.detectors._sets import set_rates
from radiograph.detectors._witness import shown_by
from radiograph.evidence import CalibrationModel, DetectorScore, ModelKind, Score

if TYPE_CHECKING:
    from radiograph.detectors.measure import Measurement

Found = TypeVar("Found")


@dataclass(frozen=True)
class Examined:
    """What was measured of one candidate."""

    scores: dict[str, DetectorScore]
    summaries: dict[str, np.ndarray]
    """Of fitted detectors, float32."""
    nuisance: dict[str, float]
    flips: dict[str, float]
    triggers: dict[str, float]
    stability: dict[str, float]
    controls: tuple[float, ...]
    aggregate: float | None
    share_outside: float | None = None
    silent: dict[str, str] = field(default_factory=dict)
    """What a fitted detector could not keep, and why."""
    seconds: float = 0.0

    @property
    def tokens(self) -> int:
        """Tokens of the scores."""
        return sum(score.tokens for score in self.scores.values())

    def model(self, name: str, family: str, kind: ModelKind, tensors_sha256: str) -> CalibrationModel:
        """As a calibration stores it; flips are written apart, by set."""
        return CalibrationModel(
            id=name,
            family=family,
            kind=kind,
            tensors_sha256=tensors_sha256,
            scores={
                key: None if score.score is None else score.score.value
                for key, score in self.scores.items()
                if not catalogue.detectors()[key].fitted
            },
            nuisance=self.nuisance,
            triggers=self.triggers,
            stability=self.stability,
            controls=self.controls,
            aggregate=self.aggregate,
            share_outside=self.share_outside,
        )


def examine(measurement: Measurement, scores: Score | None = None) -> Examined:
    """Measure everything that a calibration needs of one candidate."""
    began = time.perf_counter()
    found: dict[str, DetectorScore] = {}
    summaries: dict[str, np.ndarray] = {}
    silent: dict[str, str] = {}
    for name, detector in catalogue.detectors().items():
        found[name] = detector.score(measurement)
        if detector.summarise is not None:
            kept = _reason(lambda make=detector.summarise: np.asarray(make(measurement), dtype=np.float32))
            if isinstance(kept, str):
                silent[name] = kept
                found[name] = found[name].model_copy(update={"reason": kept})
            elif not np.isfinite(kept).all():
                raise UserError(f"{name} is not finite", got=f"{np.isnan(kept).sum()} NaN", code="non_finite")
            else:
                summaries[name] = kept
    flips = _reason(lambda: set_rates(measurement.behaviour))
    triggers = _reason(lambda: _maxima(measurement))
    record = scores if scores is not None else _score(measurement)
    return Examined(
        scores=found,
        summaries=summaries,
        nuisance=nuisance(measurement, _drift(measurement)),
        flips=flips if isinstance(flips, dict) else {},
        triggers=triggers if isinstance(triggers, dict) else {},
        stability=agreement(record),
        controls=() if record is None or record.random_control is None else record.random_control.scores,
        aggregate=None if record is None else record.aggregate_score,
        share_outside=None if record is None or record.share_outside is None else record.share_outside.value,
        silent=silent,
        seconds=round(time.perf_counter() - began, 3),
    )


def kind_of(measurement: Measurement) -> ModelKind:
    """Whether the candidate is an adapter on the reference."""
    return "adapter" if measurement.pair.candidate.ref.adapter is not None else "full"


def nuisance(measured: Measured, drift: dict[str, float]) -> dict[str, float]:
    """Coordinates of the kind of change, as far as they could be measured; logarithms are taken later."""
    found: dict[str, float] = {}
    with suppress(Refusal):
        weights = measured.weights
        moved = [m.effective_rank for m in weights.matrices if m.norm and m.effective_rank is not None]
        if weights.relative_norm is not None:
            found["relative_norm"] = weights.relative_norm
            found["changed_share"] = weights.n_changed / max(1, weights.n_tensors)
            found["effective_rank"] = float(np.median(moved)) if moved else 0.0
    with suppress(Refusal):
        found["kl_neutral"] = float(measured.neutral.kl_mean.mean())
    return found | drift


def agreement(score: Score | None) -> dict[str, float]:
    """Agreement of features between wordings, where it was measured."""
    found = None if score is None else score.stability
    if found is None:
        return {}
    pairs = {"paraphrases.jaccard": found.jaccard, "paraphrases.spearman": found.spearman}
    return {name: estimate.value for name, estimate in pairs.items() if estimate is not None}


def _drift(measurement: Measurement) -> dict[str, float]:
    from radiograph.detectors.measure._drift import measure_drift

    texts = [ids for ids in measurement.banks.neutral_tokens if len(ids) > 1]
    found = _reason(lambda: measure_drift(measurement.pair, texts))
    return found if isinstance(found, dict) else {}


def _score(measurement: Measurement) -> Score | None:
    from radiograph.detectors._shifts import score_record

    found = _reason(lambda: score_record(measurement.features))
    return found if isinstance(found, Score) else None


def _maxima(measurement: Measurement) -> dict[str, float]:
    found = measurement.triggers
    maxima = {"gain": found.gain, "success": found.success, "contrast": found.contrast}
    shown = {name: value for name, value in maxima.items() if value is not None}
    witnesses = _reason(lambda: measurement.witnesses)
    return shown if isinstance(witnesses, str) else shown | shown_by(witnesses.found)


def _reason(measure: Callable[[], Found]) -> Found | str:
    """What was measured, or why it was not."""
    try:
        return measure()
    except UserError:
        raise
    except Refusal as refusal:
        return f"{refusal.code}: {refusal.message}"
    except Exception as error:  # noqa: BLE001 - one part that fails must not silence the others
        return f"failed: {type(error).__name__}: {error}"
