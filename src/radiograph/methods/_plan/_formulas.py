"""Every formula of a plan, as text: the ledger computes what is printed here.

Names: d_model width of a site, row_width numbers of all sites of one model, read_width and written_width of one
dictionary, features, top_k active per row. FLOPs count a multiplication and an addition as two. Stages run one after
the other; a stage takes as long as the slowest of arithmetic, memory and disk.
"""

from __future__ import annotations

from radiograph.methods._plan._ledger import Ledger, Section, Unit

CONTROLS = 80
"""What `intervene` runs beside every feature: twenty of each of four families."""
VALIDATIONS = 21
"""Passes of a training over its validation rows: one every 5 %, and one at the end."""
VALIDATION_ROWS = 65_536
READER_ROWS = 262_144
DENSE = ("relu", "gated", "jumprelu")
"""Activations whose cost is that of dense products, unless few features are active."""
Line = tuple[str, str, Unit, str]


def add_all(ledger: Ledger, *, activation: str, kind: str, skip: bool, mixed: bool, training_only: bool) -> None:
    """Enter every quantity that follows from the facts."""
    dense = activation in DENSE
    _add(ledger, "storage", () if training_only else _STORAGE)
    _add(ledger, "memory", _dictionary(activation, skip=skip and kind == "transcoder", mixed=mixed))
    _add(ledger, "memory", () if training_only else _MODEL)
    _add(ledger, "compute", () if training_only else _HARVEST)
    _add(ledger, "compute", _training(dense))
    _add(ledger, "time", () if training_only else _harvest_time(measured="harvest_rate" in ledger))
    _add(ledger, "time", _training_time(measured="training_rate" in ledger))
    if not training_only:
        _add(ledger, "time", _CAUSAL_TIME)
    _total(ledger, training_only)
    _costs(ledger, training_only)


_STORAGE: tuple[Line, ...] = (
    ("dense_bytes", "tokens * models * row_width * value_bytes + 10 * tokens", "bytes", "Dense activations"),
    ("shards", "ceil(dense_bytes / shard_size)", "count", "Shards"),
    ("sparse_bytes", "tokens * sites * top_k * entry_bytes", "bytes", "Sparse records instead"),
)
_MODEL: tuple[Line, ...] = (
    (
        "model_memory",
        "model_params * model_bytes + batch_tokens * d_model * 12 * model_bytes",
        "bytes",
        "Memory to run one model",
    ),
    (
        "harvest_memory",
        "harvest_process + models * model_memory + 3 * min(shard_size, dense_bytes)",
        "bytes",
        "Peak memory of the harvest",
    ),
)
_HARVEST: tuple[Line, ...] = (
    ("harvest_flops_per_token", "2 * run_params + 2 * d_model * context * layers", "FLOP", "Harvest, one token"),
    ("harvest_flops", "models * tokens * harvest_flops_per_token", "FLOP", "Harvest"),
    (
        "causal_forwards",
        "causal_prompts * (1 + interventions_per_feature * causal_features * (1 + controls))",
        "count",
        "Causal tests, forward passes",
    ),
    (
        "causal_flops",
        "causal_forwards * context * (2 * model_params + 2 * d_model * context * layers)",
        "FLOP",
        "Causal tests",
    ),
)
_CAUSAL_TIME: tuple[Line, ...] = (("causal_time", "causal_flops / (harvest_rate * machines)", "s", "Causal tests"),)


def _dictionary(activation: str, *, skip: bool, mixed: bool) -> tuple[Line, ...]:
    """Size of one dictionary, on disk and in training."""
    parameters = "(read_width + written_width) * features + features + read_width + written_width"
    parameters += " + 2 * features" if activation == "gated" else ""
    parameters += " + read_width * written_width" if skip else ""
    memory = "training_weights + 24 * train_batch * read_width + 12 * train_batch * top_k + 33554432"
    memory += " + 8 * train_batch * features" if activation in DENSE else ""
    weights = "16 * dictionary_params" + (" + 2 * dictionary_params" if mixed else "")
    return (
        ("dictionary_params", parameters, "count", "Parameters of one dictionary"),
        ("dictionary_bytes", "dictionary_params * value_bytes", "bytes", "One dictionary, stored"),
        ("training_weights", weights, "bytes", "Weights, gradients and moments"),
        ("training_memory", memory, "bytes", "Memory to train one dictionary"),
        (
            "training_peak",
            f"process_memory + training_memory + min(tokens, {READER_ROWS}) * read_width * value_bytes",
            "bytes",
            "Peak memory of the training",
        ),
    )


def _training(dense: bool) -> tuple[Line, ...]:
    """Operations of training."""
    sparse = "2 * read_width * features + 8 * top_k * read_width"
    lines: list[Line] = [
        (
            "training_flops_per_row",
            "10 * read_width * features" if dense else sparse,
            "FLOP",
            "Training, one row",
        ),
        (
            "training_flops",
            "dictionaries * train_tokens * training_flops_per_row",
            "FLOP",
            "Training, all dictionaries",
        ),
        (
            "validation_flops",
            f"dictionaries * {VALIDATIONS} * min(validation * tokens, {VALIDATION_ROWS}) * 2 * read_width * features",
            "FLOP",
            "Validation while training",
        ),
    ]
    if not dense:
        line = ("auxiliary_flops_per_row", "6 * dead_latents * written_width", "FLOP", "Extra while latents are dead")
        lines.insert(1, line)
    return tuple(lines)


def _harvest_time(*, measured: bool) -> tuple[Line, ...]:
    """Arithmetic, memory and disk of the harvest."""
    rate: tuple[Line, ...] = (
        ("harvest_rate", "flop_rate * harvest_efficiency", "FLOP/s", "Rate that a harvest reaches"),
    )
    return (
        *(() if measured else rate),
        ("harvest_arithmetic", "harvest_flops / (harvest_rate * machines)", "s", "Harvest, arithmetic"),
        (
            "harvest_reading",
            "models * run_params * model_bytes * (tokens / batch_tokens) / (bandwidth * machines)",
            "s",
            "Harvest, reading weights",
        ),
        ("harvest_writing", "dense_bytes / (disk_rate * machines)", "s", "Harvest, writing shards"),
        (
            "harvest_time",
            "harvest_overhead + max(harvest_arithmetic, harvest_reading, harvest_writing)",
            "s",
            "Harvest",
        ),
    )


def _training_time(*, measured: bool) -> tuple[Line, ...]:
    """Arithmetic and memory of training."""
    rate: tuple[Line, ...] = (
        ("training_rate", "flop_rate * training_efficiency", "FLOP/s", "Rate that training reaches"),
    )
    return (
        *(() if measured else rate),
        ("training_steps", "dictionaries * ceil(train_tokens / train_batch)", "count", "Training steps"),
        (
            "training_arithmetic",
            "(training_flops + validation_flops) / (training_rate * machines)",
            "s",
            "Training, arithmetic",
        ),
        (
            "training_moving",
            "training_steps * (28 * dictionary_params + 16 * train_batch * top_k * read_width)"
            " / (bandwidth * machines)",
            "s",
            "Training, moving weights",
        ),
        (
            "training_time",
            "dictionaries * training_overhead + max(training_arithmetic, training_moving)",
            "s",
            "Training, all dictionaries",
        ),
    )


def _total(ledger: Ledger, training_only: bool) -> None:
    stages = "training_time" if training_only else "harvest_time + training_time + causal_time"
    ledger.derive("total_time", stages, "s", "All stages, one after the other", "time")


def _costs(ledger: Ledger, training_only: bool) -> None:
    """Money, where prices are stated; in the currency of the prices."""
    if "price_hour" in ledger:
        ledger.derive("compute_cost", "machines * total_time / 3600 * price_hour", "money", "Machines", "cost")
    if "price_storage" in ledger:
        stored = "" if training_only else "dense_bytes + "
        formula = f"({stored}dictionaries * dictionary_bytes) / 1000000000 * months * price_storage"
        ledger.derive("storage_cost", formula, "money", "Storage", "cost")


def _add(ledger: Ledger, section: Section, lines: tuple[Line, ...]) -> None:
    for name, formula, unit, label in lines:
        ledger.derive(name, formula, unit, label, section)
