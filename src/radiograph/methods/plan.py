"""Storage, memory, compute, time and cost of a large run, before it is begun.

1. read what is asked: on the command line, or from the configuration of a harvest or a training (`--for`)
2. take the machine: this one, a doctor result, or rates that were measured (`--measure`, `--machine FILE`)
3. put both into formulas that stand beside every number, with inputs and origin; an assumed rate gives a range
4. choose a profile and a shard size; raise flags, each with its remedy; say what to type next

Counts take k M B T, sizes kB MB GB TB (powers of 1000) and KiB MiB GiB TiB (powers of 1024). No network, and no torch
unless `--measure`. Exit codes: 0 · 2 with `--require fits` where a flag is high.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import Context, ExitCode, FilePath, ModelRef, UserError
from radiograph.core.sizes import ByteSize, Count, bytes_text
from radiograph.evidence import Result
from radiograph.methods._plan import _advice as advice
from radiograph.methods._plan import _formulas as formulas
from radiograph.methods._plan._machine import MachineFile, machine, measured, stated
from radiograph.methods._plan._quantity import Quantity
from radiograph.methods._plan._source import from_harvest, from_training, shape_of

LARGEST = 10**18
"""Numbers in all rows together; more than anyone can store is a typing error."""
NEEDED = ("model_params", "tokens", "d_model")
MACHINE_FILE = "machine.json"


class Config(Base):
    """What is to be run, on what, at what price."""

    model_params: Count | None = None
    """Parameters of the model."""
    tokens: Count | None = None
    """Rows to harvest."""
    d_model: Count | None = None
    """Width of a site."""
    selected_layers: Count = 1
    """Sites harvested of each model."""
    latent_dim: Count = 131_072
    """Features of a dictionary."""
    dtype: Literal["bf16", "fp32", "fp16"] | None = None
    """Type of stored rows and of the model; by default bf16."""
    profile: Literal["auto", "local-cpu", "single-gpu", "cluster", "remote-api", "frontier-lab"] = "auto"
    """Kind of place; auto takes the smallest that holds the data."""
    artifact_format: Literal["parquet", "fixed-k", "jsonl.gz", "jsonl"] = "parquet"
    """How sparse records are stored."""
    target_shard_size: ByteSize | None = None
    """Bytes of a shard; by default the profile's."""
    shards: Count | None = None
    """Number of shards, instead of their size."""
    top_k_active: Count = 64
    """Features that fire on a row."""
    causal_features: Count = 128
    """Features tested by intervention."""
    causal_prompts: Count = 256
    """Prompts of these tests."""
    interventions_per_feature: Count = 2
    """Doses."""
    controls: int = Field(default=formulas.CONTROLS, ge=0)
    """Control directions run beside every feature."""
    train_batch_size: Count = 4096
    """Rows of a training step."""
    train_tokens: Count | None = None
    """Rows drawn in training; by default as many as are harvested."""
    activation: Literal["topk", "batchtopk", "relu", "jumprelu", "gated"] = "topk"
    """Activation of the dictionary."""
    models: Count = 1
    """Models that run on the same tokens."""
    layers: Count | None = None
    """Blocks that run; by default estimated from parameters and width."""
    context: Count = 512
    """Tokens of a window."""
    batch_tokens: Count = 8192
    """Padded tokens of a forward."""
    for_: FilePath | None = None
    """Configuration of a harvest or a dictionary train, to plan just that."""
    machine: FilePath | None = None
    """machine.json of an earlier --measure, or result.json of a doctor run; by default this machine."""
    measure: ModelRef | None = None
    """Run this model and a few training steps here, and plan with what they show; leaves machine.json."""
    flops: float | None = Field(default=None, gt=0)
    """Peak FLOP/s of a machine."""
    bandwidth: float | None = Field(default=None, gt=0)
    """Bytes per second of memory."""
    disk_rate: float | None = Field(default=None, gt=0)
    """Bytes per second of the disk."""
    machines: Count = 1
    """Machines that share the work."""
    price_hour: float | None = Field(default=None, ge=0)
    """Price of a machine for an hour."""
    price_storage: float | None = Field(default=None, ge=0)
    """Price of a gigabyte (10^9 bytes) for a month."""
    require: Literal["fits"] | None = None
    """Exit 2 where a flag is high."""


class Plan(Result):
    """A costed plan."""

    SCHEMA: ClassVar[str] = "radiograph.plan/1"

    profile: advice.Profile
    profile_chosen: bool
    """The user chose it."""
    machine: str
    """Where sizes and rates come from."""
    machine_memory: int
    machine_disk_free: int
    machine_gpu_memory: int
    machine_memory_text: str
    machine_disk_text: str
    machine_gpu_text: str
    shard_size: int
    quantities: dict[str, Quantity]
    risks: tuple[advice.Risk, ...]
    actions: tuple[advice.Action, ...]
    fits_required: bool

    @property
    def headline(self) -> str:
        """Storage, training memory, time and the worst flags."""
        q = self.quantities
        high = [risk.code for risk in self.risks if risk.level == "high"]
        parts = [f"does not fit: {', '.join(high)}" if high else "fits", self.profile]
        if "dense_bytes" in q:
            parts += [
                f"dense {q['dense_bytes'].text} in {q['shards'].text} shards",
                f"harvest {q['harvest_hours'].text}",
            ]
        return " · ".join([*parts, f"training {q['training_hours'].text}"])

    @property
    def lines(self) -> tuple[str, ...]:
        """Every quantity, then flags, then what to type."""
        return (
            *(f"{q.label}: {q.text} ({q.origin})" for q in self.quantities.values()),
            *(f"{risk.level}: {risk.code}: {risk.text}; {risk.mitigation}" for risk in self.risks),
            *(f"next: {action.title}: {action.command}" for action in self.actions),
        )

    @property
    def exit_code(self) -> ExitCode:
        """2 where it must fit and does not."""
        high = any(risk.level == "high" for risk in self.risks)
        return ExitCode.GATE_FAILED if self.fits_required and high else ExitCode.PASS


def run(config: Config, ctx: Context) -> Plan:
    """Read, compute, warn."""
    asked = _asked(config, ctx)
    ask, profile = _ask(config, asked.options)
    file = _measure(config, ask, ctx) if config.measure is not None else None
    path = None if config.machine is None else ctx.path(config.machine, "machine")
    found = machine(path, ctx.locate(".")) if file is None else measured(file)
    found = stated(found, flops=config.flops, bandwidth=config.bandwidth, disk_rate=config.disk_rate)
    planned = formulas.storage(ask, file.sparse_bytes if file is not None else None)
    planned |= formulas.memory(ask) | formulas.compute(ask)
    planned |= formulas.times(ask, found, planned)
    if asked.training_only:
        planned = {name: value for name, value in planned.items() if name in formulas.OF_TRAINING}
    planned |= formulas.costs(ask, planned)
    chosen = config.profile != "auto"
    now = advice.Situation(ask, found, profile, chosen, planned, asked.model, asked.data, asked.site)
    return Plan(
        profile=profile,
        profile_chosen=chosen,
        machine=found.source,
        machine_memory=found.memory,
        machine_disk_free=found.disk_free,
        machine_gpu_memory=found.gpu_memory,
        machine_memory_text=bytes_text(found.memory),
        machine_disk_text=bytes_text(found.disk_free),
        machine_gpu_text=bytes_text(found.gpu_memory) if found.accelerated else "none",
        shard_size=ask.shard_bytes,
        quantities=planned,
        risks=advice.risks(now),
        actions=advice.actions(now),
        fits_required=config.require == "fits",
    )


@dataclass(frozen=True)
class _Asked:
    """Options by name, what was typed over what `--for` says; and the words that commands can repeat."""

    options: dict[str, Any]
    training_only: bool = False
    model: str | None = None
    data: str | None = None
    site: str | None = None


def _asked(config: Config, ctx: Context) -> _Asked:
    found = _Asked({}) if config.for_ is None else _from_config(config.for_, ctx)
    typed = {name: getattr(config, name) for name in config.model_fields_set if getattr(config, name) is not None}
    given = found.options | typed
    needed = NEEDED[1:] if found.training_only else NEEDED
    missing = ", ".join("--" + name.replace("_", "-") for name in needed if given.get(name) is None)
    if missing:
        raise UserError(f"a plan needs {missing}", fix="state it, or name a configuration with --for", code="missing")
    return replace(found, options=given)


def _from_config(reference: str, ctx: Context) -> _Asked:
    from radiograph import models, organisms, store
    from radiograph.store.shards import open_activations

    path = ctx.path(reference, "for")
    document, _ = store.load_yaml(path)
    if not isinstance(document, dict) or not document.keys() & {"activations", "model"}:
        expected = "the keys of harvest (model, site, …) or of dictionary train (activations, …)"
        raise UserError("not a configuration that can be planned", where=path.name, expected=expected)
    if "activations" in document:
        found = open_activations(ctx.locate(str(document["activations"])))
        return _Asked(from_training(document, found.index), training_only=True)
    model = str(document["model"])
    base = models.ModelRef.parse(model).base
    if not base.startswith("bundled:"):
        ctx.locate(base)
    shape = shape_of(models.locate(base, resolve=organisms.bundled_path))
    words = (document.get(name) for name in ("data", "site"))
    data, site = (str(v[0] if isinstance(v, list) else v) if v else None for v in words)
    return _Asked(from_harvest(document, shape), model=model, data=data, site=site)


def _ask(config: Config, given: dict[str, Any]) -> tuple[formulas.Ask, advice.Profile]:
    def one(name: str) -> Any:
        return given.get(name, getattr(config, name, None))

    params, tokens, width = one("model_params") or 1, one("tokens"), one("d_model")
    if tokens * width > LARGEST:
        raise UserError(
            "tokens × width is more than anyone can store",
            expected=f"at most {LARGEST:.0e}",
            got=f"{tokens * width:.2e}",
        )
    sites, dtype = one("selected_layers"), one("dtype") or "bf16"
    layers = one("layers")
    ask = formulas.Ask(
        model_params=params,
        tokens=tokens,
        d_model=width,
        sites=sites,
        models=one("models"),
        layers=layers or max(1, round(params / (12 * width * width))),
        layers_origin="stated" if layers else "assumed",
        latent_dim=one("latent_dim"),
        dtype=dtype,
        artifact_format=one("artifact_format"),
        shard_bytes=1,
        k=one("top_k_active"),
        batch=one("train_batch_size"),
        activation=one("activation"),
        context=one("context"),
        batch_tokens=one("batch_tokens"),
        run_params=one("run_params") or params,
        run_origin="stated" if one("run_params") else "assumed",
        causal_features=one("causal_features"),
        causal_prompts=one("causal_prompts"),
        interventions=one("interventions_per_feature"),
        controls=one("controls"),
        machines=one("machines"),
        train_tokens=one("train_tokens") or tokens,
        price_hour=one("price_hour"),
        price_storage=one("price_storage"),
    )
    dense = formulas.storage(ask)["dense_bytes"].low
    profile = advice.profile_of(dense, params) if config.profile == "auto" else config.profile
    size = one("target_shard_size") or advice.SHARD_TARGETS[profile]
    if config.shards is not None:
        size = -(-int(dense) // config.shards)
    return replace(ask, shard_bytes=size), profile


def _measure(config: Config, ask: formulas.Ask, ctx: Context) -> MachineFile:
    from radiograph.methods._plan._measure import measured_here

    assert config.measure is not None
    model = ctx.model(config.measure, "measure")
    with ctx.measure("measure"):
        file = measured_here(model, ctx.label(config.measure), ask, ctx.locate("."), ctx.progress)
    ctx.output.json(MACHINE_FILE, file)
    return file
