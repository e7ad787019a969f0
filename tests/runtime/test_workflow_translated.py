"""Run configs of interp-lab mean what they say: every option has its name here, and none is left out in silence."""

from __future__ import annotations

import json

import pytest

from radiograph.core import FormatError, UserError
from radiograph.runtime import find, resolve
from radiograph.runtime.workflow import read_workflow
from radiograph.runtime.workflow._interp_lab import is_foreign, translated

STEPS = {
    "out": "${run_dir}/x",
    "steps": [
        {
            "name": "records",
            "command": "export-hf-records",
            "args": {"model": "m", "dataset": "{config_dir}/p.jsonl", "layers": "4", "out": "{run_dir}/r.jsonl"},
        },
        {
            "command": "inspect",
            "args": [
                *("--model", "m", "--criterion", "units", "--backend", "records", "--records", "{run_dir}/r.jsonl"),
                *("--top-k", "5", "--require-interventions", "--out", "{run_dir}/a"),
            ],
        },
        {
            "name": "match",
            "command": "match",
            "args": {"left": "{run_dir}/a/report.json", "right": "{other}", "top_k": 3, "out": "{run_dir}/m.json"},
        },
    ],
}


def one(command: str, **args) -> dict:
    return translated({"steps": [{"command": command, "args": args}]}, "f.json")["steps"][0]


def test_z_steps_with_commands_become_verbs_that_know_what_others_wrote():
    assert is_foreign(STEPS)
    found = translated(STEPS, "f.json")
    records, inspect, match = found["steps"]
    assert records["verb"] == "records.export" and records["with"]["prompts"] == "{config_dir}/p.jsonl"
    assert records["with"]["site_template"] == "resid_pre.{{layer}}" and records["with"]["per_site"] == 16
    assert inspect == {
        "name": "2-inspect",
        "verb": "inspect",
        "with": {
            "model": "m",
            "criterion": "units",
            "cards": "5",
            "require": "causal:effect",
            "features": ["records:{steps.records.out}"],
        },
    }
    assert match["with"] == {"left": "{steps.2-inspect.out}", "right": "{other}", "show": 3}
    assert found["vars"] == {"other": None}


def test_z_top_level_keys_are_one_inspection():
    document = {"model": "m", "criterion": "c", "backend": "toy", "top_k": 4, "out": "reports/{tag}"}
    assert is_foreign(document) and not is_foreign({"schema": "radiograph.workflow/1", **document})
    found = translated(document, "f.yaml")
    assert found["out"] == "reports/{tag}"
    assert found["steps"][0]["with"] == {"model": "m", "criterion": "c", "cards": 4, "features": ["toy"]}


@pytest.mark.parametrize(
    ("args", "features"),
    [
        ({"backend": "jsonl", "features": "f.jsonl"}, ["jsonl:f.jsonl"]),
        (
            {"backend": "neuronpedia", "neuronpedia_feature": ["a@b:1", "a@b:2"], "neuronpedia_features": "l.txt"},
            ["neuronpedia:a@b:1", "neuronpedia:a@b:2", "neuronpedia:@l.txt"],
        ),
        (
            {"backend": "saelens", "saelens_release": "r", "saelens_sae_id": "i", "saelens_feature_indexes": "6, 50"},
            ["saelens:r/i#6,50"],
        ),
        (
            {"backend": "scope", "scope_source": "qwen-scope", "scope_release": "o/r", "scope_sae_id": "layer3"},
            ["scope:qwen-scope/o/r/layer3"],
        ),
        ({"backend": "goodfire", "goodfire_top_k": 20, "goodfire_api_key_env": "KEY"}, ["goodfire:20"]),
    ],
)
def test_z_backends_are_sources(args, features):
    step = one("inspect", model="m", criterion="c", **args)
    assert step["with"]["features"] == features
    resolve(find("inspect"), step["with"], environment=False)


@pytest.mark.parametrize(
    ("command", "args"),
    [
        ("doctor", {"json": True}),
        ("profile-env", {"path": ".", "out": "e.json"}),
        ("demo", {"out": "d"}),
        ("match", {"left": "a", "right": "b", "top_k": 2}),
        ("export-hf-records", {"model": "m", "dataset": "p", "out": "r", "pool": "mean", "device": "cpu"}),
        ("export-transformerlens-records", {"model": "m", "dataset": "p", "layers": "6", "no_prepend_bos": True}),
        ("export-transformerlens-records", {"model": "m", "dataset": "p", "hook_name": ["blocks.0.hook_mlp_out"]}),
        ("export-nnsight-records", {"model": "m", "dataset": "p", "activation_path": "transformer.h[6].output[0]"}),
        ("export-hf-interventions", {"model": "m", "report": "r", "dataset": "p", "criterion": "c", "top_k": 3}),
        ("export-hf-interventions", {"model": "m", "report": "r", "ablate_value": 0.5, "target_token": [" kg", " m"]}),
        ("export-hf-contrast", {"model": "m", "criterion": "c", "layer": 2, "strength_sweep": "3,10,30"}),
        ("plan-scale", {"model_params": "1T", "tokens": "1B", "d_model": "8k", "shards": "auto", "from_env": True}),
        ("export-attribution-graph", {"report": "r", "include_similarity_edges": True, "similarity_threshold": 0.8}),
        ("publish-hf-artifact", {"path": ["r"], "repo_id": "o/n", "repo_type": "model", "tag": ["a"], "dry_run": True}),
    ],
)
def test_z_every_translated_option_is_one_of_ours(command, args):
    step = one(command, **args)
    resolve(find(step["verb"]), step["with"], environment=False)


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"command": "inspekt", "args": {}}, "did you mean inspect"),
        ({"command": "inspect", "args": {"model": "m", "criterion": "c", "saelens_device": "cuda"}}, "saelens-device"),
        ({"command": "inspect", "args": "--model m"}, "a mapping or a list"),
        ({"command": "inspect", "args": ["model"]}, "no option"),
        ({"command": "run", "args": {}}, "no command"),
        ({"command": "train-sae", "args": {"model": "m"}}, "harvest"),
        ({"name": "x"}, "command"),
    ],
)
def test_what_has_no_counterpart_is_named(step, said):
    with pytest.raises((FormatError, UserError)) as caught:
        translated({"steps": [{"command": "doctor", "args": {}}, step]}, "f.json")
    assert said in str(caught.value)


def test_a_file_is_read_as_a_workflow(tmp_path):
    path = tmp_path / "f.json"
    path.write_text(json.dumps(STEPS))
    workflow = read_workflow(path)
    assert [s.name for s in workflow.steps] == ["records", "2-inspect", "match"]
