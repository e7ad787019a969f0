"""From stored evidence to the whole result: a pure function, run when a benchmark ends and when it is verified."""

from __future__ import annotations

import numpy as np

from radiograph.evidence.benchmark import Benchmark, Metric, UniformityRecord
from radiograph.methods.organisms._benchmark import bars, controls, recovery, table
from radiograph.methods.organisms._benchmark.judge import place
from radiograph.methods.organisms._benchmark.stored import Evidence
from radiograph.numerics.benchmark import threshold_at


def assembled(evidence: Evidence) -> Benchmark:
    """Outcomes, metrics, controls, bars."""
    placed = [place(subject, evidence) for subject in evidence.subjects]
    outcomes = [p.outcome for p in placed]
    uniform = table.uniform(placed, evidence)
    found = recovery.recoveries(evidence)
    metrics: list[Metric] = [
        *table.rates(outcomes, evidence),
        *([uniform] if isinstance(uniform, Metric) else []),
        *table.areas(outcomes, evidence.protocol, evidence.calibration is not None),
        *table.verdicts(outcomes),
        *table.among_degraded(outcomes, evidence),
        *recovery.triggers(found, outcomes, evidence),
        *recovery.root_causes(evidence),
        *table.stability(evidence),
        *table.cost(evidence),
        table.silent("investigator ablation", "", "comes with the scripted investigator"),
    ]
    law = uniform if isinstance(uniform, UniformityRecord) else None
    stored = evidence.calibration
    return Benchmark(
        protocol=evidence.protocol,
        protocol_sha256=evidence.protocol.sha256,
        reference_sha256=evidence.reference_sha256,
        calibration=None if stored is None else stored.name,
        calibration_sha256=None if stored is None else stored.sha256,
        n_calibration=0 if stored is None else stored.record.n,
        thresholds=thresholds(evidence),
        outcomes=tuple(outcomes),
        gate_failed=evidence.gate_failed,
        metrics=tuple(metrics),
        confusion=table.confusion(outcomes),
        uniformity=law,
        recoveries=found,
        controls=controls.evaluate(evidence, outcomes),
        assertions=bars.assertions(evidence.protocol, outcomes, metrics, law, stored is not None),
        misses=table.misses(outcomes, evidence.protocol.alpha) if stored is not None else (),
    )


def thresholds(evidence: Evidence) -> dict[str, dict[str, float | None]]:
    """By rate, the score to exceed for each plain detector; what fits the pool itself has none."""
    stored = evidence.calibration
    if stored is None:
        return {}
    plain = [rule.id for rule in stored.record.rules if not rule.fitted]
    columns = {name: [m.scores.get(name) for m in stored.record.models] for name in plain}
    return {
        f"{alpha:g}": {
            name: threshold_at(np.array([v for v in values if v is not None], dtype=float), alpha)
            for name, values in columns.items()
            if any(v is not None for v in values)
        }
        for alpha in evidence.protocol.rates
    }
