"""The detectors there are: one file each, found by folder; the path is the id (`kl/neutral.py` is `kl.neutral`).

A detector file has a docstring whose first line says what the score is, `VERSION`, `TIER` (0 weights, 1 black box,
2 activations, 3 features, 4 search, 5 rows), `READS` (the parts of the comparison that it looks at, whose tokens are
its cost) and `run(measurement) -> Estimate`. A *fitted* detector has `summarise(measurement) -> array` and
`score(pool: [model, ...]) -> [model]` instead: its score of one model is a fit on all others, so it has none without a
calibration. `SCALE` (`log` if left out, or `linear`) and `FLOOR` say on which scale, and above which least size or
spread, scores are compared with those of benign models. A detector knows no verdict. One that cannot measure says so
with a reason; an exception inside it is recorded as such and never becomes a number.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from radiograph.core import Refusal, UserError
from radiograph.detectors._measured import Measured, Part
from radiograph.evidence import DetectorScore, Estimate, Scale


@dataclass(frozen=True, slots=True)
class Detector:
    """One file of this folder."""

    id: str
    version: int
    tier: int
    text: str
    reads: tuple[Part, ...]
    run: Callable[[Measured], Estimate] | None = None
    summarise: Callable[[Any], np.ndarray] | None = None
    """Of a fitted detector: what a calibration keeps of a model, float32."""
    pool: Callable[[np.ndarray], np.ndarray] | None = None
    """Of a fitted detector: the score of every model of a pool, each by a fit on all others."""
    scale: Scale = "log"
    floor: float = 1e-6

    @property
    def fitted(self) -> bool:
        """Whether it needs other models for a score."""
        return self.run is None

    def score(self, measurement: Measured) -> DetectorScore:
        """Run it; a refusal or a failure becomes `not_measured` with its reason."""
        if self.run is None:
            return self._silent("no_calibration: this score is a distance from other fine-tunes")
        try:
            estimate = self.run(measurement)
        except UserError:
            raise
        except Refusal as refusal:
            return self._silent(f"{refusal.code}: {refusal.message}")
        except Exception as error:  # noqa: BLE001 - one broken detector must not silence the others
            return self._silent(f"failed: {type(error).__name__}: {error}")
        return DetectorScore(
            id=self.id,
            version=self.version,
            tier=self.tier,
            status="measured",
            score=estimate,
            unit=estimate.unit,
            tokens=sum(measurement.tokens(part) for part in self.reads),
            text=self.text,
        )

    def _silent(self, reason: str) -> DetectorScore:
        return DetectorScore(
            id=self.id, version=self.version, tier=self.tier, status="not_measured", reason=reason, text=self.text
        )


@cache
def detectors() -> dict[str, Detector]:
    """Every detector by id, by tier and then by name."""
    root = Path(__file__).parent
    found: list[Detector] = []
    for path in sorted(root.glob("*/*.py")):
        if path.name.startswith("_") or path.parent.name == "measure":
            continue
        module = import_module(f"radiograph.detectors.{path.parent.name}.{path.stem}")
        text = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]
        name = f"{path.parent.name}.{path.stem}"
        found.append(
            Detector(
                name,
                module.VERSION,
                module.TIER,
                text,
                module.READS,
                run=getattr(module, "run", None),
                summarise=getattr(module, "summarise", None),
                pool=getattr(module, "score", None),
                scale=getattr(module, "SCALE", "log"),
                floor=getattr(module, "FLOOR", 1e-6),
            )
        )
    return {d.id: d for d in sorted(found, key=lambda d: (d.tier, d.id))}


def score_all(measurement: Measured) -> tuple[DetectorScore, ...]:
    """Every detector's score, side by side."""
    return tuple(detector.score(measurement) for detector in detectors().values())
