"""How well do the detectors tell planted changes from harmless ones? Rates, errors and costs on models of known truth.

1. organisms of a tier with their truth; those that missed a gate are listed and not counted
2. the protocol (detectors, versions, settings, rates, seeds) is bound to the scores by its hash; benign test models are
   measured first, then calibration and thresholds are frozen, then planted, broken and other models are measured
3. each model joins the benign ones of the calibration, a test model a second time without its family; verdicts by the
   rule of `audit`, from stored scores
4. the table: detection at false positive rates, realised rates, uniformity, AUROC beside the simplest detectors,
   verdicts, recovery of triggers and causes, cost; negative controls; bars of the tier
Rates count models, with Clopper-Pearson intervals. What was not measured has a reason, never a number. Measured scores
lie in a folder of their own, so a killed run goes on.

Source: Vovk, Gammerman, Shafer 2005; Bates et al. 2023 (p-values that share a calibration). Units: shares of models.
Refuses when: the protocol or the thresholds differ from those that the scores were measured under; a test model is in
the calibration, or is its base; the calibration was measured in another way. Exit codes: 0 every bar met · 2 a bar
missed or a control failed · 3 bad input, another protocol · 4 a bar was not measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import Context, FilePath, FolderPath, UserError
from radiograph.evidence.benchmark import Benchmark, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from radiograph.evidence import Binding
    from radiograph.methods._audit.plan import Plan
    from radiograph.methods.organisms._benchmark.found import Organism
    from radiograph.methods.organisms._benchmark.measure import Job, Kept
    from radiograph.store.calibration import StoredCalibration


class Config(Base):
    """Which organisms, under which protocol."""

    tier: Literal["smoke", "ci", "release"] = "smoke"
    """smoke: the eight bundled adapters · ci, release: folders of `organisms build --tier`."""
    organisms: FolderPath | None = None
    """Folder of organisms with their truth. [default: the bundled adapters]"""
    protocol: FilePath | None = None
    """Protocol file. [default: the one of the tier that ships with the package]"""
    calibration: str = "auto"
    """`auto` (shipped, or the newest run of this reference), a run of `calibrate`, or `none`."""
    scores: FolderPath | None = None
    """Where measured scores are kept. [default: a folder under .radiograph, by tier and organisms]"""
    workers: int = Field(default=1, ge=1, le=256)
    """Processes that share the models."""
    controls: bool = True
    """Measure the negative controls too."""


@dataclass(frozen=True)
class _Setting:
    """What every measurement shares."""

    protocol: Protocol
    plan: Plan
    binding: Binding
    folder: Path
    ctx: Context
    workers: int


def run(config: Config, ctx: Context) -> Benchmark:
    """Find, bind, measure, freeze, measure, tell."""
    from radiograph.methods.organisms._benchmark import found
    from radiograph.methods.organisms._benchmark.assemble import assembled, thresholds
    from radiograph.methods.organisms._benchmark.protocol import bind, freeze
    from radiograph.methods.organisms._benchmark.stored import Evidence, Subject, save

    protocol, folder = _named(config, ctx)
    reference = ctx.stored(protocol.reference, "reference").identity.tensors_sha256
    stored: StoredCalibration | None = ctx.calibration(config.calibration, reference)
    organisms, failed = found.find(folder, protocol.reference)
    calibrated = _models(stored)
    found.check(organisms, reference, calibrated)
    setting = _setting(config, ctx, protocol, organisms, stored)
    bind(setting.folder, protocol)
    empty = Evidence(protocol, reference, stored, verified=False, subjects=(), gate_failed=())
    with ctx.measure("benign"):
        kept = _measured(setting, [o for o in organisms if o.part == "test"], "benign organisms")
    sha256 = None if stored is None else stored.sha256
    freeze(
        setting.folder,
        {"protocol_sha256": protocol.sha256, "calibration_sha256": sha256, "thresholds": thresholds(empty)},
    )
    with ctx.measure("others"):
        kept |= _measured(setting, [o for o in organisms if o.part != "test"], "other organisms")
    with ctx.measure("controls"):
        verified, controls, refusals = _controls(config, setting, organisms, stored)
    evidence = Evidence(
        protocol=protocol,
        reference_sha256=reference,
        calibration=stored,
        verified=verified,
        subjects=tuple(Subject(o.part, o.truth, kept[o.id]) for o in organisms),
        gate_failed=tuple(failed),
        controls=controls,
        refusals=refusals,
    )
    save(evidence, ctx)
    with ctx.measure("table"):
        result = assembled(evidence)
    _tables(result, ctx)
    return result


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """Derive every number again from the stored scores; returns what does not follow.

    Raises:
        OtherVersions: the protocol is of other detectors or rules than these.
    """
    from radiograph.methods._audit.versions import check_versions
    from radiograph.methods.organisms._benchmark.assemble import assembled
    from radiograph.methods.organisms._benchmark.stored import load

    stored = Benchmark.read(result)
    check_versions(stored.protocol.rules | stored.protocol.detectors, "result.json")
    problems: list[str] = []
    if stored.protocol.sha256 != stored.protocol_sha256:
        problems.append("/protocol_sha256 is not the hash of /protocol")
    evidence = load(folder, stored.protocol, stored.calibration)
    if any(s.scored.protocol_sha256 != stored.protocol_sha256 for s in evidence.subjects):
        problems.append("scores.json was measured under another protocol")
    if evidence.calibration is not None and evidence.calibration.sha256 != stored.calibration_sha256:
        problems.append("/calibration_sha256 is not the hash of the calibration that the bundle holds")
    again = assembled(evidence).model_dump(mode="json")
    own = stored.model_dump(mode="json")
    problems += [f"/{key} does not follow from the stored scores" for key in own if own[key] != again[key]]
    problems += _other_tables(stored, folder)
    return problems


def _models(stored: StoredCalibration | None) -> dict[str, str]:
    """Names of a calibration's models by their tensors."""
    if stored is None:
        return {}
    return {m.tensors_sha256: m.id for m in (*stored.record.models, *stored.record.degraded)}


def _named(config: Config, ctx: Context) -> tuple[Protocol, Path]:
    """Protocol and folder of organisms."""
    from radiograph import organisms
    from radiograph.methods.organisms._benchmark.protocol import BUNDLED, read_protocol

    own = BUNDLED / f"{config.tier}.json"
    protocol = read_protocol(own if config.protocol is None else ctx.path(config.protocol, "protocol"), config.tier)
    if config.organisms is not None:
        return protocol, ctx.locate(config.organisms)
    if config.tier != "smoke":
        raise UserError(
            f"tier {config.tier} needs organisms",
            where="--organisms",
            expected="a folder of organisms",
            fix=f"radiograph organisms build --tier {config.tier} --out DIR, then --organisms DIR",
            code="usage",
        )
    return protocol, organisms.bundled_path("organisms")


def _setting(
    config: Config, ctx: Context, protocol: Protocol, organisms: Sequence[Organism], stored: StoredCalibration | None
) -> _Setting:
    from dataclasses import replace

    from radiograph.evidence import document_sha256
    from radiograph.methods._audit.place import check_binding
    from radiograph.methods._audit.plan import plan

    made, dictionary = plan(protocol, ctx)
    made = replace(made, seed=protocol.seed)
    model = ctx.model(protocol.reference, "reference")
    _sites(protocol, model, dictionary)
    binding = made.binding(model.identity.tensors_sha256, model.identity.tokenizer_sha256 or "")
    if stored is not None:
        check_binding(stored, binding)
    names = sorted(o.truth.tensors_sha256 for o in organisms)
    default = f".radiograph/benchmark/{protocol.tier}-{document_sha256(names)[:16]}"
    folder = ctx.place(config.scores or default)
    folder.mkdir(parents=True, exist_ok=True)
    return _Setting(protocol, made, binding, folder, ctx, config.workers)


def _sites(protocol: Protocol, model: Any, dictionary: Any) -> None:
    """The protocol names the places that are read."""
    from radiograph.detectors.measure.traces._lens import lens_sites

    read = {str(site) for site in lens_sites(model)} | ({str(dictionary.site)} if dictionary is not None else set())
    if read != set(protocol.sites):
        raise UserError(
            f"protocol {protocol.name} names other sites than are read",
            expected=", ".join(sorted(read)),
            got=", ".join(protocol.sites),
            where="sites",
            code="usage",
        )


def _job(
    setting: _Setting, name: str, reference: str, candidate: str, kind: Any, sha256: str, key: str, effort: str = ""
) -> Job:
    from dataclasses import replace

    from radiograph.evidence import document_sha256
    from radiograph.methods.organisms._benchmark.measure import Job, score_path

    protocol, bound = setting.protocol.sha256, document_sha256(setting.binding)
    return Job(
        name=name,
        reference=reference,
        candidate=candidate,
        kind=kind,
        tensors_sha256=sha256,
        path=score_path(setting.folder, protocol, bound, key, kind),
        plan=replace(setting.plan, effort=effort) if effort else setting.plan,
        protocol_sha256=protocol,
        binding_sha256=bound,
        device=setting.ctx.device,
        offline=setting.ctx.offline,
    )


def _measured(setting: _Setting, organisms: Sequence[Organism], what: str) -> dict[str, Kept]:
    from radiograph.methods.organisms._benchmark.measure import measure_all

    base = setting.protocol.reference
    jobs = [
        _job(setting, o.id, base, o.reference, o.kind, o.truth.tensors_sha256, o.truth.tensors_sha256)
        for o in organisms
    ]
    return dict(zip((o.id for o in organisms), measure_all(jobs, setting.ctx, setting.workers, what), strict=True))


def _controls(
    config: Config, setting: _Setting, organisms: Sequence[Organism], stored: StoredCalibration | None
) -> tuple[bool, dict[str, Kept], Any]:
    """Whether the dictionary passed its checks; comparisons with known answers; what must be refused."""
    from radiograph.methods._audit.parts import guard
    from radiograph.methods.organisms._benchmark import controls
    from radiograph.methods.organisms._benchmark.measure import measure_all

    ctx, base = setting.ctx, setting.protocol.reference
    dictionary = None if setting.plan.dictionary is None else ctx.dictionary(setting.protocol.dictionary)
    measurement = setting.plan.measurement(ctx.pair(base, base), dictionary)
    checked = dictionary is not None and bool(guard(measurement, dictionary))
    refusals = controls.refusals(measurement, stored, setting.binding)
    if not config.controls:
        return checked, {}, refusals
    copy = setting.folder / "copy"
    controls.write_copy(base, copy, ctx)
    rows = controls.comparisons(base, organisms, copy)
    hashes = [[ctx.stored(x, "control").identity.tensors_sha256 for x in (r.reference, r.candidate)] for r in rows]
    keys = [f"control: {r.name}: {' '.join(own)}" for r, own in zip(rows, hashes, strict=True)]
    jobs = [
        _job(setting, r.name, r.reference, r.candidate, r.kind, "", key, r.effort)
        for r, key in zip(rows, keys, strict=True)
    ]
    found = measure_all(jobs, ctx, setting.workers, "controls")
    return checked, {r.name: k for r, k in zip(rows, found, strict=True)}, refusals


def _tables(result: Benchmark, ctx: Context) -> None:
    for name, columns in _columns(result).items():
        ctx.output.table(name, columns)


def _columns(result: Benchmark) -> dict[str, dict[str, list[Any]]]:
    """`benchmark`: one row a number. `outcomes`: one row an organism and detector."""
    metrics = [m.model_dump(mode="json") for m in result.metrics]
    keys = ("metric", "group", "value", "low", "high", "hits", "n", "null", "p", "reason", "text")
    rows = [(o, name) for o in result.outcomes for name in sorted(o.scores)]
    return {
        "benchmark": {key: [m[key] for m in metrics] for key in keys},
        "outcomes": {
            "organism": [o.id for o, _ in rows],
            "part": [o.part for o, _ in rows],
            "family": [o.family for o, _ in rows],
            "variant": [o.variant for o, _ in rows],
            "due": [o.due for o, _ in rows],
            "verdict": [o.verdict for o, _ in rows],
            "detector": [name for _, name in rows],
            "score": [o.scores[name] for o, name in rows],
            "p": [o.p_values.get(name) for o, name in rows],
        },
    }


def _other_tables(result: Benchmark, folder: Path) -> list[str]:
    import polars

    found: list[str] = []
    for name, columns in _columns(result).items():
        stored = polars.read_parquet(folder / "tables" / f"{name}.parquet").to_dict(as_series=False)
        if stored != columns:
            found.append(f"tables/{name}.parquet is not what result.json says")
    return found
