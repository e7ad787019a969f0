"""`plan`: published golden numbers, formulas a second way, flags on both sides of their bound, commands that parse."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys

import pytest
import yaml

from radiograph.core import ExitCode, FormatError, UserError
from radiograph.methods._plan._machine import MachineFile
from radiograph.runtime import verify
from radiograph.surfaces.cli._main import run
from running import go

pytestmark = pytest.mark.usefixtures("workspace")

GOLDEN = {
    "model_params": "1T",
    "tokens": "1B",
    "d_model": 16384,
    "selected_layers": 8,
    "latent_dim": "1M",
    "target_shard_size": "64GiB",
    "controls": 0,
}
SMALL = {"model_params": "124M", "tokens": "10M", "d_model": 768, "layers": 12, "latent_dim": 3072}
GIB = 2**30


def machine_file(workspace, **changes):
    fields = {
        "memory": 64 * GIB,
        "disk_free": 10**12,
        "model": "m",
        "harvest_flops": 1e11,
        "harvest_tokens": 1e3,
        "train_flops": 2e11,
        "train_bandwidth": 1e10,
        "disk_rate": 5e8,
    }
    path = workspace / "machine.json"
    path.write_text(json.dumps(MachineFile(**(fields | changes)).model_dump(mode="json")))
    return str(path)


def planned(**config):
    return go("plan", **config).result


def value(plan, name):
    return plan.quantities[name].value


def test_the_golden_numbers_are_exact():
    plan = planned(**GOLDEN)
    assert plan.profile == "frontier-lab"
    assert value(plan, "dense_bytes") == 10**9 * 8 * 16384 * 2 + 10 * 10**9
    assert plan.quantities["dense_bytes"].text == "262.2 TB (238.4 TiB)"
    assert value(plan, "shards") == 3815
    assert value(plan, "dictionary_parameters") == 2 * 16384 * 10**6 + 10**6 + 2 * 16384
    assert value(plan, "dictionary_bytes") / 1e9 == pytest.approx(65.5, abs=0.05)
    assert value(plan, "training_memory") >= 524e9
    assert value(plan, "training_flops_per_row") == pytest.approx(3.28e10, rel=0.002)
    assert value(plan, "sparse_bytes") == pytest.approx(3.58e12, rel=0.002)
    assert value(plan, "causal_forwards") == 65_792


def test_every_quantity_follows_its_formula(workspace):
    plan = planned(
        **SMALL, machine=machine_file(workspace), activation="gated", models=2, train_tokens="4M", dtype="fp32"
    )
    d, f, k, batch = 768, 3072, 64, 4096
    p = 2 * d * f + f + 2 * d + 2 * f
    assert value(plan, "dictionary_parameters") == p
    assert value(plan, "training_memory") == 16 * p + 24 * batch * d + 12 * batch * k + 32 * 2**20 + 8 * batch * f
    assert value(plan, "model_memory") == 124_000_000 * 4 + 8192 * d * 12 * 4
    assert value(plan, "dense_bytes") == 10**7 * 2 * d * 4 + 10**8
    per_token = 2 * 124_000_000 + 2 * d * 512 * 12
    assert value(plan, "harvest_flops") == per_token * 10**7 * 2
    assert value(plan, "training_flops") == 10 * d * f * 4_000_000
    assert value(plan, "harvest_hours") == pytest.approx(per_token * 10**7 * 2 / 1e11 / 3600)
    steps = -(-4_000_000 // batch)
    moved = steps * (28 * p + 16 * batch * k * d)
    assert value(plan, "training_hours") == pytest.approx(max(10 * d * f * 4e6 / 2e11, moved / 1e10) / 3600)


def test_an_assumed_rate_gives_a_range_and_a_measured_one_a_number(workspace):
    assumed, measured = planned(**SMALL), planned(**SMALL, machine=machine_file(workspace))
    for name in ("harvest_hours", "training_hours", "causal_hours"):
        assert assumed.quantities[name].value is None
        assert assumed.quantities[name].low < assumed.quantities[name].high
        assert assumed.quantities[name].origin == "assumed"
    assert measured.quantities["training_hours"].origin == "measured"
    assert measured.quantities["training_hours"].value is not None
    assert "rate_assumed" in {r.code for r in assumed.risks}
    assert "rate_assumed" not in {r.code for r in measured.risks}


def test_stated_rates_and_prices_are_used(workspace):
    file = machine_file(workspace)
    base = planned(**SMALL, machine=file)
    slow = planned(**SMALL, machine=file, disk_rate=1e5, price_hour=3.0, price_storage=0.02, machines=2)
    assert value(slow, "harvest_hours") == pytest.approx(value(slow, "dense_bytes") / 1e5 / 2 / 3600)
    assert value(slow, "storage_cost") == pytest.approx(value(slow, "dense_bytes") / 1e9 * 0.02)
    hours = sum(value(slow, f"{stage}_hours") for stage in ("harvest", "training", "causal"))
    assert value(slow, "compute_cost") == pytest.approx(2 * hours * 3.0)
    assert "price_unknown" in {r.code for r in base.risks}
    assert "io_bound" in {r.code for r in slow.risks}


@pytest.mark.parametrize(
    ("code", "raised", "calm"),
    [
        ("dense_exceeds_disk", {"tokens": "10B"}, {}),
        ("dense_exceeds_profile", {"tokens": "1B", "profile": "local-cpu"}, {"profile": "local-cpu"}),
        ("model_does_not_fit", {"model_params": "100B"}, {}),
        ("memory_exceeds_ram", {"latent_dim": "10M"}, {}),
        ("shard_too_large", {"target_shard_size": "16GiB"}, {}),
        ("sparse_exceeds_dense", {"artifact_format": "jsonl"}, {}),
        ("few_rows_per_feature", {"latent_dim": "100k"}, {}),
        ("fp16_overflow", {"dtype": "fp16"}, {"dtype": "fp32"}),
        ("no_accelerator", {"model_params": "1B"}, {}),
        ("causal_dominates", {}, {"controls": 0, "causal_features": 1, "causal_prompts": 1}),
    ],
)
def test_a_flag_is_raised_on_its_side_of_the_bound_alone(workspace, code, raised, calm):
    file = machine_file(workspace)
    assert code in {r.code for r in planned(**(SMALL | raised), machine=file).risks}
    assert code not in {r.code for r in planned(**(SMALL | calm), machine=file).risks}


def test_memory_of_an_accelerator_is_what_counts_where_there_is_one(workspace):
    file = machine_file(workspace, gpu_memory=8 * GIB)
    codes = {r.code for r in planned(**(SMALL | {"latent_dim": "1M"}), machine=file).risks}
    assert "memory_exceeds_vram" in codes
    assert not codes & {"memory_exceeds_ram", "no_accelerator"}


def test_a_plan_that_must_fit_and_does_not_fails_the_gate(workspace):
    file = machine_file(workspace)
    assert go("plan", **GOLDEN, machine=file, require="fits").exit_code is ExitCode.GATE_FAILED
    assert go("plan", **GOLDEN, machine=file).exit_code is ExitCode.PASS
    assert go("plan", **SMALL, machine=file, require="fits").exit_code is ExitCode.PASS


@pytest.mark.parametrize("config", [GOLDEN, SMALL, SMALL | {"latent_dim": "1M"}])
def test_every_command_that_it_proposes_is_one(config, capsys):
    for action in planned(**config).actions:
        program, *words = shlex.split(action.command)
        assert program == "radiograph"
        assert run([*words, "--help"]) == 0, action.command
        known = set(capsys.readouterr().out.split())
        assert {w for w in words if w.startswith("--")} <= known, action.command


@pytest.mark.parametrize(
    ("tokens", "width", "profile"),
    [("1M", 768, "local-cpu"), ("100M", 768, "single-gpu"), ("2B", 768, "cluster"), ("100B", 768, "frontier-lab")],
)
def test_the_profile_is_the_smallest_that_holds_the_data(tokens, width, profile):
    plan = planned(model_params="1B", tokens=tokens, d_model=width)
    assert plan.profile == profile
    targets = {"local-cpu": 0.5, "single-gpu": 4, "cluster": 32, "frontier-lab": 64}
    assert plan.shard_size == targets[profile] * GIB


def test_a_harvest_is_planned_from_its_configuration(workspace):
    config = {"model": "bundled:base", "site": ["resid_post.{0,1}"], "data": ["world:mixture#100"], "max_tokens": "1M"}
    (workspace / "harvest.yaml").write_text(yaml.safe_dump(config))
    plan = planned(for_="harvest.yaml", latent_dim=256)
    assert value(plan, "dense_bytes") == 10**6 * 2 * 64 * 4 + 10**7
    assert plan.quantities["harvest_flops"].inputs["layers"] == 2
    assert plan.quantities["harvest_flops"].origin == "stated"
    pilot = next(a for a in plan.actions if a.id == "pilot")
    assert "bundled:base" in pilot.command
    assert "'resid_post.{0,1}'" in pilot.command


def test_a_training_is_planned_from_its_activations(workspace):
    go("harvest", model="bundled:base", site=["resid_post.1"], data=["world:mixture#60"], out="h")
    (workspace / "train.yaml").write_text(yaml.safe_dump({"activations": "h", "size": 128, "k": 8, "tokens": "200k"}))
    plan = planned(for_="train.yaml")
    assert value(plan, "dictionary_parameters") == 2 * 64 * 128 + 128 + 2 * 64
    assert value(plan, "training_flops") == (2 * 64 * 128 + 8 * 8 * 64) * 200_000
    assert "dense_bytes" not in plan.quantities
    assert "pilot" not in {a.id for a in plan.actions}


def test_the_bundle_verifies_and_its_document_validates(workspace):
    outcome = go("plan", **SMALL, out="p")
    assert verify(workspace / "p").status == "intact"
    document = json.loads((workspace / "p" / "result.json").read_text())
    assert document["schema"] == "radiograph.plan/1"
    assert type(outcome.result).read(document) == outcome.result


def test_a_doctor_result_is_a_machine(workspace):
    go("doctor", out="d")
    plan = planned(**SMALL, machine="d/result.json")
    assert plan.machine == "result.json"
    assert plan.quantities["harvest_hours"].origin == "assumed"


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"target_shard_size": "64GBs"}, "64GiB"),
        ({"tokens": "0"}, "above 0"),
        ({"tokens": "-5"}, "above 0"),
        ({"latent_dim": "1.5"}, "whole"),
        ({"tokens": "1000T", "d_model": "1M"}, "store"),
        ({"tokens": None}, "--tokens"),
        ({"machine": "nowhere.json"}, "nowhere"),
    ],
)
def test_what_nobody_can_mean_is_refused(changes, match):
    config = {name: v for name, v in (SMALL | changes).items() if v is not None}
    with pytest.raises(UserError, match=match) as error:
        go("plan", **config)
    assert error.value.exit_code is ExitCode.BAD_INPUT


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": "radiograph.audit/1"}', '{"schema": "radiograph.machine/1"}'])
def test_a_file_that_is_no_machine_is_refused(workspace, text):
    (workspace / "m.json").write_text(text)
    with pytest.raises(FormatError):
        go("plan", **SMALL, machine="m.json")


@pytest.mark.parametrize("document", [{"x": 1}, ["a"], {"model": "bundled:base", "data": ["world:mixture#10"]}])
def test_a_configuration_that_cannot_be_planned_is_refused(workspace, document):
    (workspace / "c.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(UserError, match=r"configuration|site"):
        go("plan", for_="c.yaml")


def test_planning_loads_no_torch():
    script = (
        "import sys; from radiograph.runtime import Settings, execute, find, resolve; verb = find('plan');"
        "execute(verb, resolve(verb, {'model_params': '1B', 'tokens': '1M', 'd_model': 64}), Settings());"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.slow
def test_rates_are_measured_and_leave_a_machine_file(workspace):
    plan = go("plan", **(SMALL | {"latent_dim": 256}), measure="bundled:base", out="p").result
    assert plan.quantities["training_hours"].origin == "measured"
    again = planned(**SMALL, machine="p/machine.json")
    assert again.quantities["harvest_hours"].value is not None
