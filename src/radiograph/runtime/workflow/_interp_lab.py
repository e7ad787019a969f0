"""Run configs of interp-lab 0.2.0 as workflows: top-level keys of one inspection, or steps with `command` and `args`.

One table says what each option is called here. What an earlier step wrote is named as `{steps.NAME.out}`, since every
step leaves its own bundle; an option without a counterpart is an error that names it, never left out in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from radiograph.core import FormatError, UserError, nearest
from radiograph.runtime.workflow._names import named

Options = dict[str, Any]
_TOP_LEVEL = {"model", "criterion"}
_OF_THE_FILE = {"out", "run_dir", "manifest"}
_PREDEFINED = {"config_dir", "run_dir"}
_TEMPLATE = "resid_pre.{{layer}}"
"""Hidden state L of Hugging Face is what block L reads."""


@dataclass(frozen=True)
class _Command:
    verb: str
    renamed: Mapping[str, str] = field(default_factory=dict)
    fixed: Options = field(default_factory=dict)
    lists: frozenset[str] = frozenset()
    """Our options that take several values."""
    shape: Callable[[Options], Options] | None = None
    """What a table of names cannot say."""
    wrote: Mapping[str, str] = field(default_factory=lambda: {"out": ""})
    """Option that names what the step writes, and where that lies in our bundle."""


def is_foreign(document: Mapping[str, Any]) -> bool:
    """Whether a mapping is a run config of interp-lab."""
    if "schema" in document:
        return False
    steps = document.get("steps")
    if isinstance(steps, list):
        return any(isinstance(step, dict) and "command" in step for step in steps)
    return document.keys() >= _TOP_LEVEL


def translated(document: Mapping[str, Any], file: str) -> dict[str, Any]:
    """The same as a `radiograph.workflow/1` document.

    Raises:
        FormatError: a step that is none, an unknown command. UserError: an option without a counterpart.
    """
    steps = document.get("steps")
    if steps is None:
        args = {k: v for k, v in document.items() if k not in _OF_THE_FILE}
        steps = [{"name": "inspect", "command": "inspect", "args": args}]
    written: list[tuple[str, str]] = []
    made: list[dict[str, Any]] = []
    for number, step in enumerate(steps, start=1):
        where = f"{file}: step {number}"
        if not isinstance(step, dict) or "command" not in step:
            raise FormatError("a step needs `command`", where=where, got=str(step)[:80])
        made.append(_step(step, number, where, written))
    out = document.get("out", document.get("run_dir"))
    names = {name for step in made for name in named(step["with"]) if not name.startswith("steps.")}
    return {
        "schema": "radiograph.workflow/1",
        "vars": dict.fromkeys(sorted(names - _PREDEFINED)),
        **({} if out is None else {"out": str(out)}),
        "steps": made,
    }


def _step(step: Mapping[str, Any], number: int, where: str, written: list[tuple[str, str]]) -> dict[str, Any]:
    name = str(step["command"])
    command = _COMMANDS.get(name)
    if name == "train-sae":
        raise FormatError(
            "`train-sae` is two verbs here",
            where=where,
            expected="a step `harvest` (model, data, site), then a step `dictionary.train` (size, k, preset)",
            fix="write these two; docs/guides/train-a-dictionary.md shows how",
        )
    if command is None:
        close = nearest(name, list(_COMMANDS))
        raise FormatError(
            f"`{name}` is no command that can be translated",
            where=where,
            expected="one of " + ", ".join(_COMMANDS),
            fix=f"did you mean {', '.join(close)}?" if close else "write the step as `verb` and `with`",
        )
    options = {k.replace("-", "_"): v for k, v in _mapping(step.get("args", {}), where).items()}
    options = {k: _named(v, written) for k, v in options.items() if v is not None and v is not False}
    title = "".join(c if c.isalnum() or c in "_-" else "-" for c in str(step.get("name", f"{number}-{name}")))[:80]
    for option, place in command.wrote.items():
        if option in options:
            target = f"{{steps.{title}.out}}" + (f"/{place}" if place else "")
            written.append((str(options.pop(option)), target))
    if options.get("device") == "cpu":
        del options["device"]
    if command.shape is not None:
        options = command.shape(options)
    config = dict(command.fixed)
    for option, value in options.items():
        own = command.renamed.get(option)
        if own is None:
            raise UserError(
                f"`{name}` has --{option.replace('_', '-')}, which `{command.verb}` has not",
                where=where,
                expected="one of " + ", ".join(sorted(command.renamed)),
                fix="leave it out, or write the step as `verb` and `with`",
                code="unknown_option",
            )
        config[own] = value if own not in command.lists or isinstance(value, list) else [value]
    return {"name": title, "verb": command.verb, "with": config}


def _mapping(args: Any, where: str) -> Options:
    """Options as a mapping; a list is what stands on a command line."""
    if isinstance(args, dict):
        return dict(args)
    if not isinstance(args, list):
        raise FormatError("`args` is a mapping or a list", where=where, got=type(args).__name__)
    found: Options = {}
    words = [str(word) for word in args]
    while words:
        flag, equals, value = words.pop(0).partition("=")
        if not flag.startswith("--"):
            raise FormatError(f"{flag!r} is no option", where=where, expected="--NAME, or --NAME VALUE")
        if not equals:
            value = words.pop(0) if words and not words[0].startswith("--") else True
        key = flag.removeprefix("--").replace("-", "_")
        found[key] = value if key not in found else [*_listed(found[key]), value]
    return found


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _named(value: Any, written: Sequence[tuple[str, str]]) -> Any:
    """What an earlier step wrote, by that step's name; a report in a folder is the folder's run."""
    if isinstance(value, list):
        return [_named(v, written) for v in value]
    if isinstance(value, str):
        for path, target in reversed(written):
            if value == path or value in (f"{path}/report.json", f"{path}/report.md"):
                return target
    return value


def _inspect(options: Options) -> Options:
    """`--backend` and its options are one source here."""
    backend = options.pop("backend", "toy")
    indexes = options.pop(f"{backend}_feature_indexes", None)
    chosen = "" if indexes is None else "#" + ",".join(str(i) for i in _listed(indexes)).replace(" ", "")
    sources: list[str] = []
    if backend == "toy":
        sources = ["toy"]
    elif backend == "jsonl":
        sources = [f"jsonl:{options.pop('features')}"]
    elif backend == "records":
        sources = [f"records:{options.pop('records')}"]
    elif backend == "neuronpedia":
        sources = [f"neuronpedia:{ref}" for ref in _listed(options.pop("neuronpedia_feature", []))]
        if "neuronpedia_features" in options:
            sources.append(f"neuronpedia:@{options.pop('neuronpedia_features')}")
    elif backend == "saelens":
        sources = [f"saelens:{options.pop('saelens_release')}/{options.pop('saelens_sae_id')}{chosen}"]
    elif backend == "scope":
        suite = options.pop("scope_source", "gemma-scope")
        sources = [f"scope:{suite}/{options.pop('scope_release')}/{options.pop('scope_sae_id')}{chosen}"]
    elif backend == "goodfire":
        sources = [f"goodfire:{options.pop('goodfire_top_k', 32)}"]
    else:
        raise UserError(
            f"backend {backend!r} is not known", expected="toy, jsonl, records, neuronpedia, saelens, scope"
        )
    for key in (f"{backend}_max_features", f"{backend}_force_download", f"{backend}_feature_metadata"):
        if key in options:
            options[key.partition("_")[2]] = options.pop(key)
    if options.get(f"{backend}_device") == "cpu":
        del options[f"{backend}_device"]
    if options.pop("require_interventions", False):
        options["require"] = "causal:effect"
    return {**options, "sources": sources}


def _exported(options: Options, own: str) -> Options:
    """Sites of an export; without any, the last hidden state, which is after the final norm."""
    sites = [f"units:{site}" for site in _listed(options.pop(own, []))]
    if not sites and "layers" not in options:
        sites = ["units:final_norm"]
    if sites:
        options["sites"] = sites
    return {"per_site": 16, "pool": "last", **options}


def _targets(options: Options) -> Options:
    if "target_token" in options:
        options["targets"] = ",".join(str(token) for token in _listed(options.pop("target_token")))
    return options


def _ablated(options: Options) -> Options:
    value = float(options.pop("ablate_value", 0.0))
    how: Options = {"verb": "clamp", "dose": f"{value:g}", "unit": "raw"} if value else {"verb": "ablate"}
    return {**_targets(options), **how}


def _contrasted(options: Options) -> Options:
    layer = options.pop("layer", None)
    doses = options.pop("strength_sweep", options.pop("steer_strength", None))
    site = "final_norm" if layer is None else f"resid_pre.{layer}"
    return {**_targets(options), "site": site, **({} if doses is None else {"dose": str(doses), "unit": "raw"})}


def _hooks(options: Options) -> Options:
    if options.pop("no_prepend_bos", False):
        options["prepend_bos"] = False
    if "hook_template" in options:
        options["hook_template"] = options["hook_template"].replace("{layer}", "{{layer}}")
    return options


_RECORDS = {
    "model": "model",
    "dataset": "prompts",
    "layers": "layers",
    "sites": "features",
    "per_site": "per_site",
    "features_per_layer": "per_site",
    "features_per_hook": "per_site",
    "features_per_path": "per_site",
    "pool": "pool",
    "max_length": "max_length",
}
_COMMANDS: dict[str, _Command] = {
    "inspect": _Command(
        "inspect",
        {
            "model": "model",
            "criterion": "criterion",
            "sources": "features",
            "interventions": "interventions",
            "allow_intervention_criterion_mismatch": "any_criterion",
            "require": "require",
            "neuronpedia_base_url": "neuronpedia_url",
            "goodfire_api_key_env": "key_env",
            "max_features": "max_features",
            "force_download": "refresh",
            "feature_metadata": "labels",
            "top_k": "cards",
        },
        shape=_inspect,
    ),
    "match": _Command("match", {"left": "left", "right": "right", "top_k": "show"}),
    "demo": _Command("demo"),
    "doctor": _Command("doctor", shape=lambda options: {k: v for k, v in options.items() if k != "json"}),
    "profile-env": _Command(
        "doctor", {"path": "path"}, shape=lambda options: {k: v for k, v in options.items() if k != "json"}
    ),
    "export-hf-records": _Command(
        "records.export",
        _RECORDS,
        {"level": "prompt", "site_template": _TEMPLATE},
        frozenset({"features"}),
        lambda options: _exported(options, "site"),
    ),
    "export-transformerlens-records": _Command(
        "records.export",
        {**_RECORDS, "hook_template": "site_template", "prepend_bos": "prepend_bos"},
        {"level": "prompt", "backend": "transformerlens", "site_template": "blocks.{{layer}}.hook_resid_post"},
        frozenset({"features"}),
        lambda options: _hooks(_exported(options, "hook_name")),
    ),
    "export-nnsight-records": _Command(
        "records.export",
        _RECORDS,
        {"level": "prompt", "backend": "nnsight"},
        frozenset({"features"}),
        lambda options: _exported(options, "activation_path"),
    ),
    "export-hf-interventions": _Command(
        "intervene",
        {
            "model": "model",
            "report": "from",
            "dataset": "prompts",
            "criterion": "criterion",
            "top_k": "top",
            "group_top_k": "group",
            "targets": "targets",
            "verb": "verb",
            "dose": "dose",
            "unit": "unit",
        },
        shape=_ablated,
        wrote={"out": "tables/interventions.parquet", "append_group_records": "", "records": ""},
    ),
    "export-hf-contrast": _Command(
        "steer.contrast",
        {
            "model": "model",
            "dataset": "prompts",
            "criterion": "criterion",
            "site": "site",
            "pool": "pool",
            "targets": "targets",
            "dose": "dose",
            "unit": "unit",
        },
        lists=frozenset({"site"}),
        shape=_contrasted,
        wrote={"records_out": "", "interventions_out": "tables/interventions.parquet"},
    ),
    "plan-scale": _Command(
        "plan",
        {
            **{
                name: name
                for name in (
                    *("model_params", "tokens", "d_model", "selected_layers", "latent_dim", "dtype", "profile"),
                    *("artifact_format", "target_shard_size", "shards", "top_k_active", "causal_features"),
                    *("causal_prompts", "interventions_per_feature", "train_batch_size"),
                )
            },
            "env_profile": "machine",
        },
        shape=lambda options: {
            k: v for k, v in options.items() if k not in ("json", "from_env", "env_path") and v != "auto"
        },
    ),
    "export-attribution-graph": _Command(
        "graph.report",
        {"report": "run", "edges": "edges", "similarity_threshold": "similarity"},
        lists=frozenset({"run", "edges"}),
        shape=lambda options: {
            **{k: v for k, v in options.items() if k != "include_similarity_edges"},
            **({"edges": "resembles"} if options.get("include_similarity_edges") else {}),
        },
    ),
    "publish-hf-artifact": _Command(
        "publish",
        {
            "path": "run",
            "repo_id": "repo",
            "repo_type": "type",
            "private": "private",
            "path_in_repo": "path_in_repo",
            "revision": "revision",
            "commit_message": "message",
            "card_title": "title",
            "tag": "tag",
            "dry_run": "dry_run",
        },
        lists=frozenset({"tag"}),
        shape=lambda options: {k: v[0] if k == "path" and isinstance(v, list) else v for k, v in options.items()},
    ),
}
