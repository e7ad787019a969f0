"""Every quantity of a plan, from what is asked and the machine.

d width of a site, F features, k active per row, P parameters of a dictionary, B rows of a training batch. Each formula
stands in the quantity that it gives, with its inputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Literal

from radiograph.methods._plan._machine import Machine, Rate
from radiograph.methods._plan._quantity import Quantity, quantity, spread, weakest

Dtype = Literal["fp32", "bf16", "fp16"]
ITEM = {"fp32": 4, "bf16": 2, "fp16": 2}
ENTRY_BYTES = {"parquet": 7.0, "fixed-k": 6.0, "jsonl.gz": 64.0, "jsonl": 160.0}
INDEX_BYTES = 10
"""Token, prompt and position of a row."""
BUFFER = 32 * 2**20
DENSE_KINDS = ("relu", "gated", "jumprelu")
CONTROLS = 81
"""What `intervene` runs beside every feature: one placebo and twenty of each of four families."""
OF_TRAINING = frozenset(
    {
        "dictionary_bytes",
        "dictionary_parameters",
        "training_memory",
        "training_flops_per_row",
        "training_flops",
        "training_hours",
    }
)
"""What a plan of a training alone holds."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What is to be planned."""

    model_params: int
    tokens: int
    d_model: int
    sites: int
    models: int
    layers: int
    layers_origin: Literal["stated", "assumed"]
    latent_dim: int
    dtype: Dtype
    artifact_format: str
    shard_bytes: int
    k: int
    batch: int
    activation: str
    context: int
    batch_tokens: int
    run_params: int
    run_origin: Literal["stated", "assumed"]
    """Whether the parameters that run are known, or all of them are taken."""
    causal_features: int
    causal_prompts: int
    interventions: int
    controls: int
    machines: int
    train_tokens: int
    price_hour: float | None
    price_storage: float | None


def storage(ask: Ask, entry_bytes: float | None = None) -> dict[str, Quantity]:
    """Bytes on disk."""
    item = ITEM[ask.dtype]
    c = entry_bytes or ENTRY_BYTES[ask.artifact_format]
    dense = ask.tokens * ask.models * ask.sites * ask.d_model * item + INDEX_BYTES * ask.tokens
    sparse = ask.tokens * ask.sites * ask.k * c
    rows = {"tokens": ask.tokens, "models": ask.models, "sites": ask.sites, "d": ask.d_model}
    return {
        "dense_bytes": quantity(
            "Dense activations", "storage", dense, "bytes", "tokens × models × sites × d × bytes + 10 × tokens",
            {**rows, "bytes": item},
        ),
        "shards": quantity(
            "Shards", "storage", ceil(dense / ask.shard_bytes), "count", "ceil(dense / shard size)",
            {"dense": dense, "shard size": ask.shard_bytes},
        ),
        "sparse_bytes": quantity(
            f"Sparse records ({ask.artifact_format})", "storage", sparse, "bytes", "tokens × sites × k × c",
            {"tokens": ask.tokens, "sites": ask.sites, "k": ask.k, "c": c},
            "stated" if entry_bytes is None else "measured",
        ),
        "dictionary_bytes": quantity(
            "One dictionary on disk", "storage", parameters(ask) * item, "bytes", "P × bytes",
            {"P": parameters(ask), "bytes": item},
        ),
    }  # fmt: skip


def parameters(ask: Ask) -> int:
    """P of one dictionary."""
    extra = 2 * ask.latent_dim if ask.activation == "gated" else 0
    return 2 * ask.d_model * ask.latent_dim + ask.latent_dim + 2 * ask.d_model + extra


def memory(ask: Ask) -> dict[str, Quantity]:
    """Bytes while running."""
    p, item = parameters(ask), ITEM[ask.dtype]
    mixed = 2 * p if item == 2 else 0
    dense = 8 * ask.batch * ask.latent_dim if ask.activation in DENSE_KINDS else 0
    training = 16 * p + mixed + 24 * ask.batch * ask.d_model + 12 * ask.batch * ask.k + BUFFER + dense
    model = ask.model_params * item + ask.batch_tokens * ask.d_model * 12 * item
    return {
        "dictionary_parameters": quantity(
            "Parameters of one dictionary", "memory", p, "count", "2dF + F + 2d",
            {"d": ask.d_model, "F": ask.latent_dim},
        ),
        "training_memory": quantity(
            "Memory to train one dictionary", "memory", training, "bytes",
            "16P (+ 2P mixed) + 24·B·d + 12·B·k + 32 MiB (+ 8·B·F where activations are dense)",
            {"P": p, "B": ask.batch, "d": ask.d_model, "k": ask.k, "F": ask.latent_dim},
        ),
        "model_memory": quantity(
            "Memory to run the model", "memory", model, "bytes", "parameters × bytes + batch tokens × d × 12 × bytes",
            {"parameters": ask.model_params, "bytes": item, "batch tokens": ask.batch_tokens, "d": ask.d_model},
        ),
    }  # fmt: skip


def compute(ask: Ask) -> dict[str, Quantity]:
    """Operations."""
    per_token = 2 * ask.run_params + 2 * ask.d_model * ask.context * ask.layers
    per_row = training_flops(ask)
    causal = ask.causal_prompts * (1 + ask.interventions * ask.causal_features * (1 + ask.controls))
    origin = weakest(ask.run_origin, ask.layers_origin)
    return {
        "harvest_flops": quantity(
            "Harvest", "compute", per_token * ask.tokens * ask.models, "FLOP",
            "(2·N_run + 2·d·T·layers) × tokens × models",
            {"N_run": ask.run_params, "d": ask.d_model, "T": ask.context, "layers": ask.layers,
             "tokens": ask.tokens, "models": ask.models}, origin,
        ),
        "training_flops_per_row": quantity(
            "Training, one row", "compute", per_row, "FLOP",
            "10dF" if ask.activation in DENSE_KINDS else "2dF + 8kd",
            {"d": ask.d_model, "F": ask.latent_dim, "k": ask.k},
        ),
        "training_flops": quantity(
            "Training, all sites", "compute", per_row * ask.train_tokens * ask.sites, "FLOP",
            "per row × training rows × sites",
            {"per row": per_row, "training rows": ask.train_tokens, "sites": ask.sites},
        ),
        "causal_forwards": quantity(
            "Causal forwards", "compute", causal, "count",
            "prompts × (1 + interventions × features × (1 + controls))",
            {"prompts": ask.causal_prompts, "interventions": ask.interventions, "features": ask.causal_features,
             "controls": ask.controls},
        ),
    }  # fmt: skip


def training_flops(ask: Ask) -> float:
    """Operations of one row of training."""
    if ask.activation in DENSE_KINDS:
        return 10 * ask.d_model * ask.latent_dim
    return 2 * ask.d_model * ask.latent_dim + 8 * ask.k * ask.d_model


def times(ask: Ask, found: Machine, planned: dict[str, Quantity]) -> dict[str, Quantity]:
    """Hours of each stage: operations or bytes, whichever bounds."""
    harvest_ops, written = planned["harvest_flops"].low, planned["dense_bytes"].low
    steps = ceil(ask.train_tokens / ask.batch) * ask.sites
    moved = steps * (28 * parameters(ask) + 16 * ask.batch * ask.k * ask.d_model)
    causal_ops = planned["causal_forwards"].low * ask.context * (harvest_ops / (ask.tokens * ask.models))
    n = ask.machines
    harvest = _bound(harvest_ops, found.harvest, written, found.disk, n, found.harvest_seconds)
    train = _bound(
        planned["training_flops"].low, found.train, moved, found.bandwidth, n, found.train_seconds * ask.sites
    )
    causal = _bound(causal_ops, found.harvest, 0.0, found.disk, n)
    known = weakest(found.harvest.origin, found.disk.origin, planned["harvest_flops"].origin)
    return {
        "harvest_hours": quantity(
            "Harvest", "time", harvest, "hours", "max(FLOP / (rate × machines), dense bytes / (disk × machines))",
            {"FLOP": harvest_ops, "rate": _rate(found.harvest), "bytes": written, "disk": _rate(found.disk),
             "machines": n}, known,
        ),
        "training_hours": quantity(
            "Training, all sites", "time", train, "hours",
            "max(FLOP / rate, steps × (28P + 16·B·k·d) / bandwidth) / machines",
            {"FLOP": planned["training_flops"].low, "rate": _rate(found.train), "bytes": moved,
             "bandwidth": _rate(found.bandwidth), "machines": n}, weakest(found.train.origin, found.bandwidth.origin),
        ),
        "causal_hours": quantity(
            "Causal tests", "time", causal, "hours", "forwards × context × FLOP per token / (rate × machines)",
            {"forwards": planned["causal_forwards"].low, "context": ask.context, "rate": _rate(found.harvest),
             "machines": n}, weakest(found.harvest.origin, planned["harvest_flops"].origin),
        ),
    }  # fmt: skip


def costs(ask: Ask, planned: dict[str, Quantity]) -> dict[str, Quantity]:
    """Money, where prices are stated; in the currency of the prices."""
    out: dict[str, Quantity] = {}
    stages: list[Quantity] = [value for name, value in planned.items() if name.endswith("_hours")]
    if ask.price_hour is not None:
        low, high = (ask.machines * ask.price_hour * sum(getattr(s, side) for s in stages) for side in ("low", "high"))
        out["compute_cost"] = quantity(
            "Machines", "cost", (low, high), "currency", "machines × hours × price",
            {"machines": ask.machines, "price": ask.price_hour}, weakest(*[stage.origin for stage in stages]),
        )  # fmt: skip
    if ask.price_storage is not None and "dense_bytes" in planned:
        gigabytes = planned["dense_bytes"].low / 1e9
        out["storage_cost"] = quantity(
            "Dense storage for a month", "cost", gigabytes * ask.price_storage, "currency", "GB × months × price",
            {"GB": gigabytes, "months": 1, "price": ask.price_storage},
        )  # fmt: skip
    return out


def _bound(
    operations: float, rate: Rate, moved: float, bandwidth: Rate, machines: int, fixed: float = 0.0
) -> tuple[float, float]:
    """Hours at the fastest and at the slowest rates."""
    (slow, fast), (narrow, wide) = spread(rate.value, bandwidth.value)
    shortest = max(operations / fast, moved / wide) / machines + fixed
    longest = max(operations / slow, moved / narrow) / machines + fixed
    return shortest / 3600, longest / 3600


def _rate(rate: Rate) -> float | str:
    return rate.value if not isinstance(rate.value, tuple) else f"{rate.value[0]:.3g} to {rate.value[1]:.3g}"
