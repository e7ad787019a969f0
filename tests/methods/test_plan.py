"""`plan`: published golden numbers, formulas a second way, flags on both sides of their bound, commands that parse."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from math import ceil
from pathlib import Path

import pytest
import yaml
from safetensors.numpy import load_file

from radiograph.core import ExitCode, FormatError, UserError
from radiograph.methods._plan import _advice as advice
from radiograph.methods._plan._ledger import Ledger, evaluate, wrong
from radiograph.methods._plan._machine import Gpu, MachineFile, Rates
from radiograph.organisms import bundled_path
from radiograph.reports.pages.plan import WORDS
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
SMALL = {"model_params": "124M", "tokens": "10M", "d_model": 768, "layers": 12, "latent_dim": 3072, "dtype": "fp32"}
GIB = 2**30
RATES = Rates(
    model="m",
    dictionary="topk",
    flop_rate=3e11,
    bandwidth=1e10,
    disk_rate=5e8,
    harvest_rate=1e11,
    harvest_overhead=3.0,
    training_rate=2e11,
    training_overhead=4.0,
    harvest_cores=1.0,
    training_cores=1.0,
    harvest_overhead_cpu=3.0,
    training_overhead_cpu=4.0,
    process_memory=GIB // 2,
    harvest_process=GIB,
    context=100.0,
)


def machine_file(workspace, **changes):
    fields = {"cores": 2, "memory": 64 * GIB, "disk_free": 10**12, "rates": RATES}
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
    assert plan.quantities["shards"].text == "3,815"
    assert value(plan, "dictionary_params") == 2 * 16384 * 10**6 + 10**6 + 2 * 16384
    assert plan.quantities["dictionary_params"].text == "32.77B"
    assert value(plan, "dictionary_bytes") / 1e9 == pytest.approx(65.5, abs=0.05)
    assert value(plan, "training_weights") == 16 * value(plan, "dictionary_params") >= 524e9
    assert value(plan, "training_memory") >= 524e9
    assert value(plan, "training_flops_per_row") == pytest.approx(3.28e10, rel=0.002)
    assert value(plan, "sparse_bytes") == 10**9 * 8 * 64 * 7
    assert value(plan, "causal_forwards") == 65_792
    for name in ("dense_bytes", "shards", "dictionary_params", "training_flops_per_row"):
        assert plan.quantities[name].origin == "stated"


@pytest.mark.parametrize("dense", [False, True])
def test_every_quantity_follows_the_formulas_of_the_method(workspace, dense):
    """The same, computed here once more from the method's own text."""
    plan = planned(
        **SMALL,
        machine=machine_file(workspace),
        activation="gated" if dense else "topk",
        models=2,
        selected_layers=3,
        train_tokens="4M",
        machines=2,
    )
    d, f, k, batch, rows = 768, 3072, 64, 4096, 10**7
    p = 2 * d * f + f + 2 * d + (2 * f if dense else 0)
    assert value(plan, "dictionary_params") == p
    memory = 16 * p + 24 * batch * d + 12 * batch * k + 32 * 2**20 + (8 * batch * f if dense else 0)
    assert value(plan, "training_memory") == memory
    assert value(plan, "model_memory") == 124_000_000 * 4 + 8192 * d * 12 * 4
    stored = rows * 2 * 3 * d * 4 + 10 * rows
    assert value(plan, "dense_bytes") == stored
    per_token = 2 * 124_000_000 + 2 * d * 512 * 12
    assert value(plan, "harvest_flops") == per_token * rows * 2
    per_row = 10 * d * f if dense else 2 * d * f + 8 * k * d
    assert value(plan, "training_flops") == 3 * per_row * 4_000_000
    assert value(plan, "harvest_time") == pytest.approx(
        3 + max(per_token * rows * 2 / 1e11 / 2, stored / 5e8 / 2, 2 * 124e6 * 4 * rows / 8192 / 1e10 / 2)
    )
    validated = 3 * 21 * 65_536 * 2 * d * f
    moved = 3 * ceil(4_000_000 / batch) * (28 * p + 16 * batch * k * d)
    arithmetic = (3 * per_row * 4e6 + validated) / 2e11
    assert value(plan, "training_time") == pytest.approx(3 * 4 + max(arithmetic, moved / 1e10) / 2)


def test_what_is_printed_is_what_was_computed(workspace):
    """Python itself, reading the printed formula, gives the number beside it, at both ends."""
    for plan in (planned(**GOLDEN), planned(**SMALL, machine=machine_file(workspace), price_hour=2, price_storage=1)):
        names = plan.quantities
        assert wrong(names) == []
        for name, q in names.items():
            assert q.unit
            assert q.origin in {"stated", "measured", "assumed"}
            assert set(q.inputs) <= set(names)
            if q.formula is None:
                assert q.inputs == ()
            elif q.value is not None:
                given = {i: names[i].low for i in q.inputs} | {"ceil": ceil, "max": max, "min": min}
                assert eval(q.formula, {"__builtins__": {}}, given) == pytest.approx(q.value), name


def test_a_changed_number_is_seen(workspace):
    names = dict(planned(**SMALL).quantities)
    names["dense_bytes"] = names["dense_bytes"].model_copy(update={"low": 1.0, "high": 1.0, "value": 1.0})
    assert "dense_bytes" in wrong(names)


def test_a_range_goes_through_every_formula():
    ledger = Ledger()
    ledger.fact("work", 100.0, "FLOP", "stated", "")
    ledger.fact("rate", (2.0, 5.0), "FLOP/s", "assumed", "")
    ledger.derive("time", "max(work / rate, 30) + ceil(rate / 2)", "s", "", "time")
    assert (ledger["time"].low, ledger["time"].high) == (31, 53)
    assert ledger["time"].value is None
    assert ledger["time"].origin == "assumed"
    for formula in ("a - b", "a ** 2", "open(a)", "a.b", "'x'", "a if a else b"):
        with pytest.raises(ValueError, match="not a formula"):
            evaluate(formula, {"a": (1, 1), "b": (1, 1)})


def test_an_assumed_rate_gives_a_range_and_a_measured_one_a_number(workspace):
    assumed, measured = planned(**SMALL), planned(**SMALL, machine=machine_file(workspace))
    for name in ("flop_rate", "harvest_time", "training_time", "causal_time", "total_time"):
        assert assumed.quantities[name].value is None
        assert assumed.quantities[name].low < assumed.quantities[name].high
        assert assumed.quantities[name].origin == "assumed"
        assert measured.quantities[name].value is not None
        assert measured.quantities[name].origin == "measured"
    assert "rate_assumed" in {r.code for r in assumed.risks}
    assert "rate_assumed" not in {r.code for r in measured.risks}


def test_stated_rates_and_prices_are_used(workspace):
    file = machine_file(workspace)
    base = planned(**SMALL, machine=file)
    slow = planned(**SMALL, machine=file, disk_rate=1e5, price_hour=3.0, price_storage=0.02, months=2, machines=2)
    stored = value(slow, "dense_bytes")
    assert value(slow, "harvest_writing") == pytest.approx(stored / 1e5 / 2)
    assert value(slow, "storage_cost") == pytest.approx((stored + value(slow, "dictionary_bytes")) / 1e9 * 2 * 0.02)
    assert value(slow, "compute_cost") == pytest.approx(2 * value(slow, "total_time") / 3600 * 3.0)
    assert "price_unknown" in {r.code for r in base.risks}
    assert "io_bound" in {r.code for r in slow.risks}
    peak = planned(**SMALL, machine=file, flops=1e12).quantities
    assert peak["flop_rate"].origin == "stated"
    assert peak["harvest_time"].origin == "assumed"


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
        ("fp16_overflow", {"dtype": "fp16"}, {}),
        ("io_bound", {"disk_rate": 1e6}, {"disk_rate": 1e12}),
        ("price_unknown", {}, {"price_hour": 1.0}),
        ("no_accelerator", {"model_params": "1B"}, {}),
        ("causal_dominates", {}, {"controls": 0, "causal_features": 1, "causal_prompts": 1}),
    ],
)
def test_a_flag_is_raised_on_its_side_of_the_bound_alone(workspace, code, raised, calm):
    file = machine_file(workspace)
    assert code in {r.code for r in planned(**(SMALL | raised), machine=file).risks}
    assert code not in {r.code for r in planned(**(SMALL | calm), machine=file).risks}


def test_memory_of_an_accelerator_is_what_counts_where_there_is_one(workspace):
    file = machine_file(workspace, gpus=(Gpu(name="NVIDIA H100 80GB HBM3", memory=8 * GIB),), rates=None)
    codes = {r.code for r in planned(**(SMALL | {"latent_dim": "1M"}), machine=file).risks}
    assert "memory_exceeds_vram" in codes
    assert not codes & {"memory_exceeds_ram", "no_accelerator"}
    rate = planned(**SMALL, machine=file).quantities["flop_rate"]
    assert (rate.low, rate.high) == (pytest.approx(0.8 * 989e12), 989e12)


def test_a_plan_that_must_fit_and_does_not_fails_the_gate(workspace):
    file = machine_file(workspace)
    assert go("plan", **GOLDEN, machine=file, require="fits").exit_code is ExitCode.GATE_FAILED
    assert go("plan", **GOLDEN, machine=file).exit_code is ExitCode.PASS
    assert go("plan", **SMALL, machine=file, require="fits").exit_code is ExitCode.PASS


@pytest.mark.parametrize(
    "config",
    [
        GOLDEN,
        SMALL,
        SMALL | {"latent_dim": "1M", "target_shard_size": "1234567B", "tokens": 12_345_678},
        SMALL | {"tokens": "10B", "profile": "local-cpu", "machines": 3},
    ],
)
def test_every_command_that_it_proposes_is_one(config, monkeypatch):
    """Parsed by the real command line, checked by the verb's own configuration; only the work itself is left out."""
    seen = []

    def execute(verb, resolved, settings):
        seen.append((verb.key, resolved.config))
        raise KeyboardInterrupt

    monkeypatch.setattr("radiograph.runtime.execute", execute)
    plan = planned(**config)
    assert plan.actions
    for action in plan.actions:
        program, *words = shlex.split(action.command)
        assert program == "radiograph"
        assert run(words) == ExitCode.INTERRUPTED, action.command
    again = [config for key, config in seen if key == "plan"]
    assert again
    assert all(c.tokens == again[0].tokens and c.model_params == again[0].model_params for c in again)
    assert seen[0][1].measure == "auto"


@pytest.mark.parametrize(
    ("tokens", "width", "profile"),
    [("1M", 768, "local-cpu"), ("100M", 768, "single-gpu"), ("2B", 768, "cluster"), ("100B", 768, "frontier-lab")],
)
def test_the_profile_is_the_smallest_that_holds_the_data(tokens, width, profile):
    plan = planned(model_params="1B", tokens=tokens, d_model=width)
    assert plan.profile == profile
    targets = {"local-cpu": 0.5, "single-gpu": 4, "cluster": 32, "frontier-lab": 64}
    assert value(plan, "shard_size") == targets[profile] * GIB


def test_a_harvest_is_planned_from_its_configuration(workspace):
    config = {
        "model": "bundled:base",
        "site": ["resid_post.{0,1}", "mlp_hidden.0", "attn_z.1.h2"],
        "data": ["world:mixture#100"],
        "max-tokens": "1M",
    }
    (workspace / "harvest.yaml").write_text(yaml.safe_dump(config))
    plan = planned(for_="harvest.yaml", latent_dim=256)
    assert value(plan, "row_width") == 64 + 64 + 176 + 16
    assert value(plan, "dense_bytes") == 10**6 * (64 + 64 + 176 + 16) * 4 + 10**7
    assert value(plan, "layers") == 2
    assert value(plan, "context") == 128
    tensors = load_file(bundled_path("base") / "model.safetensors")
    assert value(plan, "model_params") == sum(t.size for t in tensors.values())
    blocks = ("model.layers.0.", "model.layers.1.")
    assert value(plan, "run_params") == sum(t.size for name, t in tensors.items() if name.startswith(blocks))
    pilot = next(a for a in plan.actions if a.id == "pilot")
    assert "bundled:base" in pilot.command
    assert "'resid_post.{0,1}'" in pilot.command
    assert value(planned(for_="harvest.yaml", tokens="2M"), "tokens") == 2 * 10**6


def test_a_training_is_planned_from_its_activations(workspace):
    go("harvest", model="bundled:base", site=["resid_post.1", "mlp_out.1"], data=["world:mixture#60"], out="h")
    config = {"activations": "h", "size": 128, "k": 8, "tokens": "200k", "input": "resid_post.1"}
    (workspace / "train.yaml").write_text(yaml.safe_dump(config))
    plan = planned(for_="train.yaml")
    assert value(plan, "dictionary_params") == 2 * 64 * 128 + 128 + 2 * 64
    assert value(plan, "training_flops") == (2 * 64 * 128 + 8 * 8 * 64) * 200_000
    assert value(plan, "train_batch") == 1024, "as the preset that dictionary train would take"
    assert "dense_bytes" not in plan.quantities
    assert "pilot" not in {a.id for a in plan.actions}
    (workspace / "cross.yaml").write_text(yaml.safe_dump({"activations": "h", "kind": "crosscoder", "size": 128}))
    cross = planned(for_="cross.yaml")
    assert value(cross, "dictionary_params") == 2 * 128 * 128 + 128 + 2 * 128
    assert value(cross, "top_k") == 16


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
    assert plan.quantities["harvest_time"].origin == "assumed"
    assert value(plan, "machine_memory") == value(planned(**SMALL), "machine_memory")


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


@pytest.mark.parametrize(
    "text",
    ["{", "[]", *(json.dumps({"schema": f"radiograph.{kind}/1"}) for kind in ("audit", "machine", "doctor"))],
)
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
    config = {"model": "bundled:base", "site": "resid_post.1", "data": "world:mixture#3000", "max_tokens": "20k"}
    (workspace / "h.yaml").write_text(yaml.safe_dump(config))
    asked = {"for_": "h.yaml", "latent_dim": 256, "top_k_active": 8, "train_batch_size": 256}
    plan = go("plan", **asked, measure="auto", out="p").result
    assert verify(workspace / "p").status == "intact"
    for name in ("harvest_time", "training_time"):
        assert plan.quantities[name].origin == "measured"
        assert plan.quantities[name].value is not None
    assert value(plan, "context") < 128, "the length of the windows that the data have"
    assert 3 < value(plan, "entry_bytes") < 12
    assert value(plan, "harvest_process") >= value(plan, "process_memory") > 0
    assert "measure" not in {a.id for a in plan.actions}
    again = planned(**asked, machine="p/machine.json")
    assert value(again, "training_time") == value(plan, "training_time")


def test_every_flag_that_can_be_high_has_words_on_the_page():
    source = (Path(advice.__file__)).read_text()
    high = set(re.findall(r'code="(\w+)",\s+level="high"', source)) | {"memory_exceeds_vram", "memory_exceeds_ram"}
    assert high | {"few_rows_per_feature"} == set(WORDS)
