"""`weights diff` end to end: what was planted is in the headline, the bundle verifies, bad input says what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys

import polars
import pytest
import torch
from safetensors.torch import load_file, save_file

from auditing import reseal
from models import make
from radiograph.core import ExitCode, UserError
from radiograph.evidence import pretty_json
from radiograph.methods.weights import diff
from radiograph.models import load
from radiograph.runtime import verify
from running import contents, go, leaks

pytestmark = pytest.mark.usefixtures("workspace")


@pytest.fixture
def base(workspace):
    make.folder(workspace / "base")
    return "base"


def test_the_planted_matrix_is_in_the_headline_and_the_bundle_verifies(base, workspace):
    make.folder(workspace / "other")
    weights = load_file(workspace / "other" / "model.safetensors")
    generator = torch.Generator().manual_seed(0)
    weights["model.layers.1.mlp.down_proj.weight"] += torch.randn(32, 2, generator=generator) @ torch.randn(
        2, 48, generator=generator
    )
    save_file(weights, workspace / "other" / "model.safetensors")
    outcome = go("weights diff", reference=base, candidate="other", out="run")
    assert outcome.exit_code is ExitCode.PASS
    assert outcome.result.headline.startswith("1 of 30 tensors changed, relative norm ")
    assert "largest in down.1 (" in outcome.result.headline and outcome.result.headline.endswith("rank 2)")
    assert verify(workspace / "run").status == "intact"
    table = polars.read_parquet(workspace / "run" / "tables" / "weights.parquet")
    assert table.filter(polars.col("status") == "changed")["address"].to_list() == ["down.1"]
    assert leaks(outcome.path, workspace) == []
    model = load(str(workspace / "other")).identity
    inputs = {i["role"]: i for i in json.loads((workspace / "run" / "manifest.json").read_text())["inputs"]}
    assert (inputs["candidate"]["sha256"], inputs["candidate"]["tensors_sha256"]) == (
        model.files_sha256,
        model.tensors_sha256,
    )


def test_an_edited_matrix_with_every_hash_redone_no_longer_follows(base, workspace):
    make.folder(workspace / "other", seed=1)
    go("weights diff", reference=base, candidate="other", out="run")
    document = json.loads((workspace / "run" / "result.json").read_text())
    row = next(m for m in document["weights"]["matrices"] if m["address"] == "down.1")
    row["norm"] = 0.5 * row["norm"]
    reseal(workspace / "run", {"result.json": pretty_json(document).encode(), "report.html": b"<p>no numbers</p>"})
    found = verify(workspace / "run")
    assert found.exit_code is ExitCode.GATE_FAILED
    assert any("other values of norm" in p.text for p in found.problems), found.problems


def test_a_model_and_itself_changed_nowhere(base):
    outcome = go("weights diff", reference=base, candidate=base)
    assert outcome.result.headline == "none of 30 tensors changed"
    assert outcome.result.weights.relative_norm == 0.0


def test_an_adapter_is_compared_by_its_factors(base, workspace):
    make.adapter(workspace / "adapter", workspace / "base")
    outcome = go("weights diff", reference=base, candidate="base+adapter")
    assert outcome.result.headline.startswith("6 of 30 tensors changed") and "rank 4)" in outcome.result.headline
    assert {m.path for m in outcome.result.weights.matrices if m.status == "changed"} == {"thin"}


def test_same_seed_same_bytes(base, workspace):
    make.folder(workspace / "other", seed=1)
    first, second = (go("weights diff", reference=base, candidate="other", out=name) for name in ("a", "b"))
    timed = {"manifest.json", "manifest.sha256", "tool_calls.jsonl"}
    ours, theirs = ({n: d for n, d in contents(o.path).items() if n not in timed} for o in (first, second))
    assert ours == theirs and "result.json" in ours


def test_a_changed_total_no_longer_follows_from_the_table(base, workspace):
    make.folder(workspace / "other", seed=1)
    outcome = go("weights diff", reference=base, candidate="other", out="run")
    document = outcome.result.model_dump(mode="json")
    assert diff.recompute(document, outcome.path) == []
    document["weights"]["relative_norm"] += 1e-6
    assert "relative_norm" in diff.recompute(document, outcome.path)[0]


def test_added_missing_and_resized_tensors_are_named(base, workspace):
    make.folder(workspace / "other")
    weights = load_file(workspace / "other" / "model.safetensors")
    weights["model.layers.0.mlp.up_proj.bias"] = torch.ones(48)
    del weights["model.layers.0.mlp.gate_proj.weight"]
    weights["model.layers.2.self_attn.o_proj.weight"] = torch.ones(8, 8)
    save_file(weights, workspace / "other" / "model.safetensors")
    outcome = go("weights diff", reference=base, candidate="other")
    assert outcome.result.lines[:3] == (
        "added: model.layers.0.mlp.up_proj.bias",
        "missing: gate.0",
        "resized: o.2",
    )
    assert outcome.result.weights.n_changed == 3


def test_bad_input_is_said(base, workspace):
    with pytest.raises(UserError) as caught:
        go("weights diff", reference=base, candidate="bese")
    assert caught.value.code == "model_not_found" and "base" in caught.value.fix
    make.folder(workspace / "wide", hidden_size=64)
    outcome = go("weights diff", reference=base, candidate="wide")
    assert outcome.exit_code is ExitCode.NOT_MEASURED and outcome.result.code == "no_shared_matrix"


def test_help_and_run_import_no_torch(base):
    code = (
        "import sys\nfrom radiograph.surfaces.cli import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit as stop: assert not stop.code, stop.code\n"
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    for arguments in (["weights", "diff", "--help"], ["weights", "diff", base, base, "--quiet"]):
        subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)
