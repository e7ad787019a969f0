"""What is asked: options that were typed, over what `--for` says, over defaults; each enters the ledger as a fact."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final, cast

from radiograph.core import Config, Context, UserError
from radiograph.methods._plan._advice import SHARD_TARGETS, Profile, profile_of
from radiograph.methods._plan._ledger import Ledger, Unit, evaluate
from radiograph.methods._plan._source import from_harvest, from_training, shape_of

LARGEST: Final = 10**18
"""Numbers in all rows together; more than anyone can store is a typing error."""
NEEDED: Final = ("model_params", "tokens", "d_model")
VALUE_BYTES: Final = {"fp32": 4, "bf16": 2, "fp16": 2}
ENTRY_BYTES: Final = {"parquet": 7.0, "fixed-k": 6.0, "jsonl.gz": 64.0, "jsonl": 160.0}
_WIDTHS: Final = ("row_width", "read_width", "written_width")
_DEFAULTS: Final[dict[str, Any]] = {
    "kind": "sae",
    "skip": False,
    "validation": 0.1,
}


@dataclass(frozen=True, slots=True)
class Asked:
    """Values by name, and which of them somebody stated."""

    values: dict[str, Any]
    typed: frozenset[str] = frozenset()
    found: frozenset[str] = frozenset()
    """Names that `--for` settles."""
    training_only: bool = False
    source: str = ""
    """File name of `--for`."""
    model: str | None = None
    data: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()
    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    """Options of the harvest in `--for` that say how its data are read."""

    def __getitem__(self, name: str) -> Any:
        return self.values.get(name, _DEFAULTS.get(name))

    def note(self, name: str) -> str:
        """Who stated a value. A default is a choice that the reader can change, not something that is not known."""
        if name in self.typed:
            return "typed"
        return f"from {self.source}" if name in self.found else "default"

    def measured(self, **values: float | None) -> Asked:
        """The same with what a pilot showed."""
        seen = {f"measured_{name}": value for name, value in values.items() if value is not None}
        return replace(self, values={**self.values, **seen})


def asked(config: Config, ctx: Context) -> Asked:
    """Options over `--for` over defaults.

    Raises:
        UserError: something is missing, or larger than anyone can store.
    """
    values = config.model_dump()
    found = Asked({}) if values["for_"] is None else _from_file(values["for_"], ctx)
    typed = {name: values[name] for name in config.model_fields_set if values[name] is not None}
    merged = {name: value for name, value in values.items() if value is not None} | found.values | typed
    missing = [name for name in NEEDED if name not in merged and not (found.training_only and name == "model_params")]
    if missing:
        options = ", ".join("--" + name.replace("_", "-") for name in missing)
        raise UserError(
            f"a plan needs {options}",
            fix="state it" if found.source else "state it, or name a configuration with --for",
            code="missing_option",
        )
    if (size := merged["tokens"] * merged["d_model"]) > LARGEST:
        raise UserError(
            "tokens × width is more than anyone can store", expected=f"at most {LARGEST:.0e}", got=f"{size:.2e}"
        )
    if typed.keys() & {"d_model", "selected_layers"}:
        merged = {name: value for name, value in merged.items() if name not in _WIDTHS}
    return replace(found, values=merged, typed=frozenset(typed), found=frozenset(found.values))


def _from_file(reference: str, ctx: Context) -> Asked:
    from radiograph import models, organisms, store

    path = ctx.path(reference, "for")
    loaded, _ = store.load_yaml(path)
    if not isinstance(loaded, dict) or not loaded.keys() & {"activations", "model"}:
        raise UserError(
            "not a configuration that can be planned",
            where=path.name,
            expected="the options of harvest (model, site, …) or of dictionary train (activations, …)",
        )
    document = {str(key).replace("-", "_"): value for key, value in cast("dict[Any, Any]", loaded).items()}
    if "activations" in document:
        from radiograph.store.shards import open_activations

        index = open_activations(ctx.locate(str(document["activations"]))).index
        return Asked(from_training(document, index), training_only=True, source=path.name)
    model = str(document["model"])
    base = models.ModelRef.parse(model).base
    shape = shape_of(models.locate(base, base_dir=ctx.locate("."), resolve=organisms.bundled_path))
    reading = ("max_length", "window", "rows", "bos", "chat", "text_field", "messages_field", "id_field", "group_field")
    return Asked(
        from_harvest(document, shape),
        source=path.name,
        model=model,
        data=_texts(document.get("data")),
        sites=_texts(document.get("site")),
        fields={name: document[name] for name in (*reading, "per", "batch_tokens") if name in document},
    )


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(map(str, value if isinstance(value, list) else [value] if value else []))


def enter(ledger: Ledger, want: Asked, profile: str) -> Profile:
    """Enter every fact of what is asked, and choose the profile."""

    def fact(name: str, key: str, unit: Unit, label: str, default: float = 0.0) -> None:
        ledger.fact(name, want.values.get(key, default), unit, "stated", label, note=want.note(key))

    for name, key, label in (
        ("tokens", "tokens", "Rows of each site"),
        ("d_model", "d_model", "Width of a site"),
        ("sites", "selected_layers", "Sites of each model"),
        ("features", "latent_dim", "Features of a dictionary"),
        ("top_k", "top_k_active", "Features that fire on a row"),
        ("train_batch", "train_batch_size", "Rows of a training step"),
        ("machines", "machines", "Machines"),
    ):
        fact(name, key, "count", label)
    _sizes(ledger, want)
    chosen: Profile = "local-cpu"
    if not want.training_only:
        chosen = _harvest(ledger, want, profile, fact)
    elif profile != "auto":
        chosen = cast(Profile, profile)
    for name, label in (("price_hour", "Price of a machine hour"), ("price_storage", "Price of a GB for a month")):
        if name in want.values:
            fact(name, name, "money", label)
    fact("months", "months", "share", "Months that data are kept", 1.0)
    return chosen


def _sizes(ledger: Ledger, want: Asked) -> None:
    """Widths, bytes and numbers that follow from other options where nothing states them."""
    note = f"{want['dtype']}, {want.note('dtype')}"
    ledger.fact("value_bytes", VALUE_BYTES[want["dtype"]], "bytes", "stated", "A number", note=note)
    for name, formula, label in (
        ("row_width", "sites * d_model", "Numbers of all sites of a model"),
        ("read_width", "d_model", "Numbers that a dictionary reads"),
        ("written_width", "d_model", "Numbers that a dictionary writes"),
        ("dictionaries", "sites", "Dictionaries"),
        ("train_tokens", "tokens", "Rows drawn in training"),
    ):
        if name in want.values:
            ledger.fact(name, want[name], "count", "stated", label, note=want.note(name))
        else:
            ledger.derive(name, formula, "count", label, "asked")
    ledger.fact("validation", want["validation"], "share", "stated", "Rows held out", note=want.note("validation"))
    if want["activation"] in ("topk", "batchtopk"):
        half = ledger["read_width"].low / 2
        label = "Dead latents that are revived at a time"
        ledger.fact("dead_latents", (0.0, half), "count", "assumed", label, note="none to half the width")


def _harvest(ledger: Ledger, want: Asked, profile: str, fact: Any) -> Profile:
    """Facts of the harvest and of causal tests."""
    fact("model_params", "model_params", "count", "Parameters of a model")
    fact("models", "models", "count", "Models on the same tokens")
    own = want["model_dtype"] or want["dtype"]
    ledger.fact("model_bytes", VALUE_BYTES[own], "bytes", "stated", "A number in the model", note=own)
    if "run_params" in want.values:
        note = f"counted in the model that {want.source} names"
        ledger.fact("run_params", want["run_params"], "count", "measured", "Parameters that run", note=note)
    else:
        ledger.derive("run_params", "model_params", "count", "Parameters that run, at most", "asked")
    if "layers" in want.values:
        fact("layers", "layers", "count", "Blocks that run")
    else:
        estimate = max(1, round(want["model_params"] / (12 * want["d_model"] ** 2)))
        label, note = "Blocks that run", "12·d² parameters a block"
        ledger.fact("layers", estimate, "count", "assumed", label, note=note)
    if want["measured_context"]:
        ledger.fact(
            "context", want["measured_context"], "count", "measured", "Tokens of a window", note="mean, in the pilot"
        )
    else:
        fact("context", "context", "count", "Tokens of a window")
    fact("batch_tokens", "batch_tokens", "count", "Padded tokens of a forward")
    form = want["artifact_format"]
    entry, seen = want["measured_entry"] or ENTRY_BYTES[form], "the pilot" if want["measured_entry"] else "general"
    ledger.fact("entry_bytes", entry, "bytes", "measured", "An entry of sparse records", note=f"{form}, in {seen}")
    for name in ("causal_prompts", "causal_features", "interventions_per_feature", "controls"):
        fact(name, name, "count", name.replace("_", " ").capitalize())
    return _shards(ledger, want, profile)


def _shards(ledger: Ledger, want: Asked, profile: str) -> Profile:
    dense = _dense(ledger)
    chosen = profile_of(dense, want["model_params"]) if profile == "auto" else cast(Profile, profile)
    if want["shards"]:
        size, note = -(-int(dense) // want["shards"]), f"for {want['shards']:,} shards"
    elif want["target_shard_size"]:
        size, note = want["target_shard_size"], want.note("target_shard_size")
    else:
        size, note = SHARD_TARGETS[chosen], f"default of the profile {chosen}"
    ledger.fact("shard_size", size, "bytes", "stated", "Bytes of a shard", note=note)
    return chosen


def _dense(ledger: Ledger) -> float:
    values = {name: (q.low, q.high) for name, q in ledger.items()}
    return evaluate("tokens * models * row_width * value_bytes + 10 * tokens", values)[0]
