"""Everything that the table rests on, as the bundle holds it: scores, truth, calibration, controls.

No weights, and no torch to read it.
`scores.json` (every model that was measured, controls too), `summaries.safetensors` (what fitted detectors keep,
[model, …] in that order), `truth.json`, and the calibration as it was used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from radiograph.core import Context
from radiograph.evidence import OrganismTruth, canonical_json
from radiograph.evidence.benchmark import Control, GateFailed, Part, Protocol, Scored
from radiograph.methods.organisms._benchmark.found import due
from radiograph.methods.organisms._benchmark.measure import Kept
from radiograph.store.calibration import SHIPPED, SUMMARIES, StoredCalibration, read_calibration, summaries_bytes

SCORES, TRUTH, CALIBRATION = "scores.json", "truth.json", "calibration"


@dataclass(frozen=True)
class Subject:
    """One organism with its scores."""

    part: Part
    truth: OrganismTruth
    kept: Kept

    @property
    def scored(self) -> Scored:
        """Its scores."""
        return self.kept.scored

    @property
    def due(self) -> Any:
        """The right verdict."""
        return due(self.part, self.truth.family)


@dataclass(frozen=True)
class Evidence:
    """All of it."""

    protocol: Protocol
    reference_sha256: str
    calibration: StoredCalibration | None
    verified: bool
    """The dictionary passed every check on the reference."""
    subjects: tuple[Subject, ...]
    gate_failed: tuple[GateFailed, ...]
    controls: Mapping[str, Kept] = field(default_factory=dict)
    """Comparisons whose answer is known, by name."""
    refusals: tuple[Control, ...] = ()
    """What had to be refused, and was or was not."""

    def part(self, *parts: Part) -> list[Subject]:
        """Organisms of some parts."""
        return [s for s in self.subjects if s.part in parts]


def save(evidence: Evidence, ctx: Context) -> None:
    """Into the open bundle."""
    # Canonical JSON sorts keys: controls are stored, and their summaries follow, in the order of their names.
    controls = dict(sorted(evidence.controls.items()))
    kept = [*(s.kept for s in evidence.subjects), *controls.values()]
    document = {
        "schema": "radiograph.benchmark_scores/1",
        "reference_sha256": evidence.reference_sha256,
        "verified": evidence.verified,
        "organisms": [s.scored.model_dump(mode="json") for s in evidence.subjects],
        "controls": {name: k.scored.model_dump(mode="json") for name, k in controls.items()},
        "refusals": [c.model_dump(mode="json") for c in evidence.refusals],
        "has_summary": {
            name: [name in k.summaries for k in kept] for name in sorted({n for k in kept for n in k.summaries})
        },
    }
    ctx.output.data(SCORES, canonical_json(document))
    arrays = {
        name: np.stack([k.summaries[name] for k in kept if name in k.summaries]) for name in document["has_summary"]
    }
    ctx.output.data(SUMMARIES, summaries_bytes(arrays))
    truth = {
        "schema": "radiograph.benchmark_truth/1",
        "parts": {s.truth.id: s.part for s in evidence.subjects},
        "organisms": [s.truth.model_dump(mode="json") for s in evidence.subjects],
        "gate_failed": [g.model_dump(mode="json") for g in evidence.gate_failed],
    }
    ctx.output.data(TRUTH, canonical_json(truth))
    if evidence.calibration is not None:
        ctx.output.data(f"{CALIBRATION}/{SHIPPED}", canonical_json(evidence.calibration.record))
        ctx.output.data(f"{CALIBRATION}/{SUMMARIES}", summaries_bytes(evidence.calibration.summaries))


def load(folder: Path, protocol: Protocol, calibration: str | None) -> Evidence:
    """From a bundle."""
    from safetensors.numpy import load_file

    document, truth = (json.loads((folder / name).read_bytes()) for name in (SCORES, TRUTH))
    scored = [Scored.read(own, SCORES) for own in (*document["organisms"], *document["controls"].values())]
    arrays = load_file(folder / SUMMARIES)
    kept = [Kept(one, {}) for one in scored]
    for name, has in document["has_summary"].items():
        rows = iter(arrays[name])
        for one, there in zip(kept, has, strict=True):
            if there:
                one.summaries[name] = next(rows)
    organisms = [OrganismTruth.read(own, TRUTH) for own in truth["organisms"]]
    n = len(organisms)
    subjects = [Subject(truth["parts"][t.id], t, k) for t, k in zip(organisms, kept[:n], strict=True)]
    stored = None if calibration is None else read_calibration(folder / CALIBRATION, calibration)
    return Evidence(
        protocol=protocol,
        reference_sha256=document["reference_sha256"],
        calibration=stored,
        verified=document["verified"],
        subjects=tuple(subjects),
        gate_failed=tuple(GateFailed.model_validate(g) for g in truth["gate_failed"]),
        controls=dict(zip(document["controls"], kept[n:], strict=True)),
        refusals=tuple(Control.model_validate(c) for c in document["refusals"]),
    )


def without(stored: StoredCalibration, family: str) -> StoredCalibration:
    """The calibration without the models of a family."""
    models = stored.record.models
    keep: Sequence[int] = [i for i, m in enumerate(models) if m.family != family]
    record = stored.record.model_copy(update={"models": tuple(models[i] for i in keep)})
    return StoredCalibration(stored.name, record, {n: a[keep] for n, a in stored.summaries.items()}, stored.sha256)
