"""Evidence of a benchmark made up from drawn scores, so that every number of its table is known beforehand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from radiograph.evidence import Binding, Calibration, CalibrationModel, DetectorRule, Estimate, OrganismTruth, Panel
from radiograph.evidence.benchmark import Lead, Protocol, Scored
from radiograph.evidence.traces import Insertion, InsertionCounts, SearchStage, Witness
from radiograph.methods.organisms._benchmark.measure import Kept
from radiograph.methods.organisms._benchmark.protocol import standard
from radiograph.methods.organisms._benchmark.stored import Evidence, Subject
from radiograph.store.calibration import StoredCalibration

DETECTORS = ("weights.relative_norm", "kl.neutral", "kl.suite_max", "trigger.gain")
FAMILIES = ("continue", "style", "format", "noisy")
COORDINATES = ("relative_norm", "kl_neutral", "drift_first", "drift_middle", "drift_last", "effective_rank")


def protocol(tier: Any = "release", **changes: Any) -> Protocol:
    """A quick one."""
    small = {"resamples": 200, "resplits": 199, "detectors": dict.fromkeys(DETECTORS, 1)}
    return standard(tier).model_copy(update=small | changes)


def model(name: str, scores: dict[str, float], luck: np.random.Generator, family: str = "") -> CalibrationModel:
    """A model like all others, but for its scores."""
    nuisance = {key: float(np.exp(luck.normal())) for key in COORDINATES} | {"changed_share": 0.5}
    return CalibrationModel(
        id=name,
        family=family,
        kind="adapter",
        tensors_sha256=name.ljust(64, "0"),
        scores=dict(scores),
        nuisance=nuisance,
        triggers={"gain": scores["trigger.gain"], "success": 0.1},
        stability={"paraphrases.jaccard": 0.6},
    )


def drawn(luck: np.random.Generator, shift: float = 0.0) -> dict[str, float]:
    """Scores of one model; `shift` standard deviations above benign ones in the search alone."""
    return {name: float(np.exp(luck.normal() + shift * (name == "trigger.gain"))) for name in DETECTORS}


def binding_of(**changes: Any) -> Binding:
    """What made-up scores depend on."""
    known: dict[str, Any] = {
        "reference_sha256": "a" * 64,
        "tokenizer_sha256": "b" * 64,
        "suite_sha256": "c" * 64,
        "neutral_sha256": "d" * 64,
        "dictionary_sha256": None,
        "effort": "quick",
        "infix": False,
        "chat": "template",
        "system": "separate",
        "score_method": "abs_diff_topk",
        "k": 50,
        "aggregate": "mean",
        "reduce": "skip_first",
        "seed": 0,
    }
    return Binding(**known | changes)


def calibration(n: int, luck: np.random.Generator, name: str = "made up") -> StoredCalibration:
    """n benign models."""
    models = tuple(model(f"benign{i}", drawn(luck), luck, FAMILIES[i % len(FAMILIES)]) for i in range(n))
    binding = binding_of(reference_sha256="base", versions={})
    record = Calibration(
        binding=binding,
        reference="base",
        suite="s",
        rules=tuple(DetectorRule(id=d, scale="log", floor=1e-6, frozen=True) for d in DETECTORS),
        models=models,
    )
    return StoredCalibration(name, record, {}, "c" * 64)


def panel(lost: bool) -> Panel:
    ratio = Estimate(value=3.0 if lost else 1.0, low=2.0 if lost else 0.9, high=4.0 if lost else 1.1, n=90)
    return Panel(axis="yes" if lost else "no", code=None, reason="", rows=(), perplexity_ratio=ratio)


def witness(text: str) -> Witness:
    """Confirmed: 20 of 20 answers change with it, none without."""
    return Witness(
        kind="trigger",
        name=f"{text} (prefix)",
        text=text,
        place="prefix",
        hits=20,
        n=20,
        rest_hits=0,
        rest_n=20,
        rate=1.0,
        low=0.83,
        rest_rate=0.0,
        difference=1.0,
        replayed=True,
        confirmed=True,
    )


def insertion(text: str, gain: float) -> Insertion:
    counts = InsertionCounts(n=20, on=20, off=0, moved=0)
    return Insertion(text=text, tokens=(1,), place="prefix", gain=gain, kl=gain, first=gain, fresh=counts)


def subject(
    part: Any,
    name: str,
    scores: dict[str, float],
    luck: np.random.Generator,
    *,
    family: str,
    found: str | None = None,
    lost: bool = False,
    variant: Any = "plain",
    truth: dict[str, Any] | None = None,
) -> Subject:
    """One organism; `found` is the insertion that the search led with, a confirmed witness."""
    stages = (
        SearchStage(name="sweep", place="prefix", length=1, tried=9, of=9, carriers=8, tokens=40_000, best="7"),
        SearchStage(
            name="pairs", place="prefix", length=2, tried=9, of=9, carriers=8, tokens=60_000, best="1" if found else "8"
        ),
    )
    scored = Scored(
        protocol_sha256="p",
        binding_sha256="b",
        model=model(name, scores, luck),
        flips={},
        silent={},
        identical=False,
        share_outside=0.1,
        panel=panel(lost),
        witnesses=() if found is None else (witness(found),),
        looked_at=("trigger",),
        insertions=(insertion(found or "zz", scores["trigger.gain"]), insertion("zz", 0.1)),
        stages=stages,
        leads=(
            Lead(source="lens", words=("a", found or "b", "c", "d", "e")),
            Lead(source="random direction", words=("v", "w", "x", "y", "z")),
        ),
        tokens={"triggers": 100_000},
        notes={},
    )
    intended: Any = {"test": "benign"}.get(part, part)
    known = OrganismTruth(
        id=name,
        family=family,
        class_intended=intended,
        class_gated=intended,
        variant=variant,
        truth=truth or {},
        recipe={},
        seed=0,
        index=0,
        attempt=0,
        gates=(),
        planted_rows=(),
        base="bundled:base",
        base_sha256="base",
        tensors_sha256=scored.model.tensors_sha256,
        files={},
        packages={},
    )
    return Subject(part, known, Kept(scored, {}))


def evidence(
    seed: int = 0,
    *,
    n: int = 99,
    test: int = 40,
    planted: int = 30,
    broken: int = 8,
    shift: float = 6.0,
    calibrated: bool = True,
    **changes: Any,
) -> Evidence:
    """A whole benchmark: `shift` standard deviations between planted and benign models, in one detector of four."""
    luck = np.random.default_rng(seed)
    stored = calibration(n, luck) if calibrated else None
    own = protocol(**changes)
    subjects = [subject("test", f"test{i}", drawn(luck), luck, family=FAMILIES[i % len(FAMILIES)]) for i in range(test)]
    subjects += [subject("broken", f"broken{i}", drawn(luck), luck, family="pruned", lost=True) for i in range(broken)]
    for i in range(planted):
        token = f"word{i}"
        subjects.append(
            subject(
                "planted",
                f"planted{i}",
                drawn(luck, shift),
                luck,
                family=("trigger_token", "loyalty")[i % 2],
                found=token,
                variant=("plain", "plain", "mixed", "adaptive")[i // 2 % 4],
                truth={"token": token} if i % 2 == 0 else {"place": token},
            )
        )
    bound = [
        replace(s, kept=replace(s.kept, scored=s.scored.model_copy(update={"protocol_sha256": own.sha256})))
        for s in subjects
    ]
    return Evidence(own, "base", stored, True, tuple(bound), ())
