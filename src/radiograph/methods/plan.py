"""Storage, memory, compute, time and cost of a large run, before it is begun.

1. read what is asked: on the command line, or from the configuration of a harvest or a training (`--for`)
2. take the machine: this one, a doctor result, or rates that a pilot measured (`--measure`, `--machine FILE`)
3. put both into formulas; each stands beside its number and is what was computed. Every number knows whether it was
   stated, measured or assumed; a rate that is assumed is a range, and so is what follows from it
4. choose a profile and a shard size; raise flags, each with its remedy; say what to type next

Counts take k M B T, sizes kB MB GB TB (powers of 1000) and KiB MiB GiB TiB (powers of 1024). No network, and no torch
unless `--measure`. Exit codes: 0 · 2 with `--require fits` where a flag is high.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import Context, ExitCode, FilePath, ModelRef
from radiograph.core.config import Bare
from radiograph.core.sizes import ByteSize, Count, exact_text
from radiograph.evidence import Result
from radiograph.methods._plan import _advice as advice
from radiograph.methods._plan import _formulas as formulas
from radiograph.methods._plan import _machine as machines
from radiograph.methods._plan._asked import Asked, asked, enter
from radiograph.methods._plan._ledger import Ledger, Quantity, wrong

MACHINE_FILE = "machine.json"
SHOWN = ("storage", "memory", "compute", "time", "cost")
"""What the command line shows; the page shows facts too."""


class Config(Base):
    """What is to be run, on what, at what price."""

    model_params: Count | None = None
    """Parameters of the model.  [required without --for]"""
    tokens: Count | None = None
    """Rows to harvest of each site.  [required without --for]"""
    d_model: Count | None = None
    """Width of a site.  [required without --for]"""
    selected_layers: Count = 1
    """Sites harvested of each model; a dictionary is trained on each."""
    latent_dim: Count = 131_072
    """Features of a dictionary."""
    dtype: Literal["bf16", "fp32", "fp16"] = "bf16"
    """Type of stored rows, of the model, and of stored dictionaries."""
    profile: Literal["auto", "local-cpu", "single-gpu", "cluster", "remote-api", "frontier-lab"] = "auto"
    """Kind of place; auto takes the smallest that holds the data."""
    artifact_format: Literal["parquet", "fixed-k", "jsonl.gz", "jsonl"] = "parquet"
    """How sparse records would be stored."""
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
    """Rows drawn in training, for each dictionary; by default as many as are harvested."""
    activation: Literal["topk", "batchtopk", "relu", "jumprelu", "gated"] = "topk"
    """Activation of the dictionary."""
    models: Count = 1
    """Models that run on the same tokens."""
    layers: Count | None = None
    """Blocks that run, up to the last site; by default estimated from parameters and width."""
    context: Count = 512
    """Tokens of a window."""
    batch_tokens: Count = 8192
    """Padded tokens of a forward."""
    for_: FilePath | None = None
    """YAML or JSON with the options of a harvest or of a dictionary train, to plan just that."""
    machine: FilePath = "auto"
    """machine.json of an earlier --measure, or result.json of a doctor run; auto is this machine."""
    measure: Annotated[ModelRef | None, Bare("auto")] = None
    """Run a short harvest and training here, of this model (by default that of --for, else the bundled one), and plan
    with what they show; leaves machine.json."""
    flops: float | None = Field(default=None, gt=0)
    """Peak FLOP/s of a machine."""
    bandwidth: float | None = Field(default=None, gt=0)
    """Bytes per second of its memory."""
    disk_rate: float | None = Field(default=None, gt=0)
    """Bytes per second of its disk."""
    machines: Count = 1
    """Machines that share the work."""
    price_hour: float | None = Field(default=None, ge=0)
    """Price of a machine for an hour."""
    price_storage: float | None = Field(default=None, ge=0)
    """Price of a gigabyte (10^9 bytes) for a month."""
    months: float = Field(default=1.0, ge=0)
    """Months for which the data are kept."""
    require: Literal["fits"] | None = None
    """Exit 2 where a flag is high."""


class Plan(Result):
    """A costed plan."""

    SCHEMA: ClassVar[str] = "radiograph.plan/1"

    profile: advice.Profile
    profile_chosen: bool
    """The user chose it."""
    machine: str
    """Where its sizes and rates come from."""
    quantities: dict[str, Quantity]
    """By name: facts first, then what follows from them. A formula names what it reads."""
    risks: tuple[advice.Risk, ...]
    actions: tuple[advice.Action, ...]
    fits_required: bool

    @property
    def headline(self) -> str:
        """Whether it fits, storage, memory and time."""
        q = self.quantities
        high = list(dict.fromkeys(risk.code for risk in self.risks if risk.level == "high"))
        parts = [f"does not fit: {', '.join(high)}" if high else "fits"]
        if "dense_bytes" in q:
            parts.append(f"{q['dense_bytes'].text} in {q['shards'].text} shards")
        return " · ".join([*parts, f"{q['total_time'].text} in all"])

    @property
    def lines(self) -> tuple[str, ...]:
        """What follows from the facts, then flags, then what to type."""
        return (
            f"profile: {self.profile}",
            *(f"{q.label}: {q.text} ({q.origin})" for q in self.quantities.values() if q.section in SHOWN),
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
    want = asked(config, ctx)
    machine = _machine(config, ctx, want)
    if (rates := machine.file.rates) is not None:
        same_data = config.measure is not None and want.data and not want.training_only
        want = want.measured(
            context=rates.context if same_data else None,
            entry=rates.entry_bytes if want["artifact_format"] == "parquet" else None,
        )
    ledger = Ledger()
    profile = enter(ledger, want, config.profile)
    machines.enter(ledger, machine)
    formulas.add_all(
        ledger,
        activation=want["activation"],
        kind=want["kind"],
        skip=want["skip"],
        mixed=machine.accelerated and want["dtype"] != "fp32",
        training_only=want.training_only,
    )
    chosen = config.profile != "auto"
    now = advice.Situation(
        ledger=ledger,
        machine=machine,
        profile=profile,
        chosen=chosen,
        dtype=want["dtype"],
        options=_typed(config, ctx),
        model=want.model,
        data=want.data[0] if want.data else None,
        site=want.sites[0] if want.sites else None,
    )
    raised = advice.risks(now)
    return Plan(
        profile=profile,
        profile_chosen=chosen,
        machine=machine.source,
        quantities=dict(ledger),
        risks=raised,
        actions=advice.actions(now, raised),
        fits_required=config.require == "fits",
    )


def _machine(config: Config, ctx: Context, want: Asked) -> machines.Machine:
    """The machine, measured if asked, with the rates that the user states."""
    if config.measure is not None:
        from radiograph.methods._plan._measure import measure

        model = (want.model or "bundled:base") if config.measure == "auto" else config.measure
        file, source = measure(ctx, model, want, ctx.locate(".")), "measured here"
        ctx.output.json(MACHINE_FILE, file)
    elif config.machine == "auto":
        file, source = machines.this_machine(ctx.locate(".")), "this machine"
    else:
        file, source = machines.read_machine(ctx.path(config.machine, "machine")), Path(config.machine).name
    stated = {"flop_rate": config.flops, "bandwidth": config.bandwidth, "disk_rate": config.disk_rate}
    return machines.Machine(file, source, {name: value for name, value in stated.items() if value is not None})


def _typed(config: Config, ctx: Context) -> dict[str, str]:
    """The options of this plan as a command line repeats them."""
    left_out = {"measure", "machine", "require"}
    return {
        "--" + name.rstrip("_").replace("_", "-"): ctx.label(str(value)) if name == "for_" else _word(name, value)
        for name in type(config).model_fields
        if name in config.model_fields_set - left_out and (value := getattr(config, name)) is not None
    }


def _word(name: str, value: Any) -> str:
    if not isinstance(value, int):
        return str(value)
    return exact_text(value, "bytes" if name == "target_shard_size" else "count") if value else "0"


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """Does every formula give the number beside it?"""
    del folder
    return [f"{name} is not what its formula gives" for name in wrong(Plan.read(result).quantities)]
