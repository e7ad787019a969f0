"""`neurons scan` end to end: lists against a second derivation, planted truth, bad input."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars
import pytest
import torch
from safetensors.torch import load_file, save_file

from models import make
from radiograph.core import ExitCode, Site, UserError
from radiograph.models import capture, load, pad
from radiograph.runtime import verify
from radiograph.store.statistics import read_statistics
from running import go, leaks

pytestmark = pytest.mark.usefixtures("workspace")
TEXTS = ["the quick brown fox jumps", "over the lazy dog and then", "sits down to read a long book about trains"]


@pytest.fixture
def texts(workspace: Path) -> str:
    (workspace / "texts.txt").write_text("\n\n".join(TEXTS))
    return "texts.txt"


def test_a_loud_and_a_silent_unit_head_their_lists(workspace: Path, texts: str):
    make.folder(workspace / "model")
    weights = load_file(workspace / "model" / "model.safetensors")
    weights["model.layers.1.mlp.down_proj.weight"][:, 7] *= 300
    weights["model.layers.2.mlp.up_proj.weight"][11] = 0
    save_file(weights, workspace / "model" / "model.safetensors", metadata={"format": "pt"})
    outcome = go("neurons scan", model="model", text=[texts], rank="mean", top=5, out="run")
    assert outcome.exit_code is ExitCode.PASS
    found = outcome.result
    assert (found.loud[0].unit, found.lonely[0].unit) == ("mlp_hidden.1[7]", "mlp_hidden.2[11]")
    assert (found.lonely[0].firing, found.lonely[0].contexts, found.sites[2].constant) == (0, (), 1)
    assert "GELU and SiLU" in found.notes[-1]
    model = load("model")
    assert model.tokenizer is not None
    ids = [model.tokenizer(text)["input_ids"] for text in TEXTS]
    site = Site("mlp_hidden", 1)
    x = torch.cat([capture(model, pad([row]), [site])[site][0, 1:] for row in ids]).double().numpy()
    loud = found.loud[0]
    norm = float(weights["model.layers.1.mlp.down_proj.weight"][:, 7].double().norm())
    assert loud.write_norm == pytest.approx(norm, rel=1e-5)
    spread = np.abs(x[:, 7] - np.median(x[:, 7])).mean()
    assert loud.contribution == pytest.approx(spread * norm, rel=0.02)
    assert (loud.n, loud.mean, loud.sd) == (len(x), pytest.approx(x[:, 7].mean()), pytest.approx(x[:, 7].std()))
    row, position = max(
        ((r, p) for r in range(3) for p in range(1, len(ids[r]))),
        key=lambda at: float(capture(model, pad([ids[at[0]]]), [site])[site][0, at[1], 7]),
    )
    assert f"[{model.tokenizer.decode([ids[row][position]])}]" in loud.contexts[0]
    table = polars.read_parquet("run/tables/units.parquet")
    assert table.filter(site="mlp_hidden.1")["sd"].to_numpy() == pytest.approx(x.std(0), rel=1e-4)
    assert read_statistics(Path("run/statistics"))[0]["mlp_hidden.1"].mean == pytest.approx(x.mean(0), rel=1e-4)
    assert verify(Path("run")).status == "intact"
    assert leaks(workspace / "run", workspace) == []


def test_tokens_are_those_that_the_unit_moves(texts: str, workspace: Path):
    """W_U(γ⊙w) by hand."""
    make.folder(workspace / "model")
    found = go("neurons scan", model="model", text=[texts], site=["mlp_hidden.2"], top=2).result
    weights = load_file(workspace / "model" / "model.safetensors")
    for row in found.loud:
        unit = int(row.unit.split("[")[1][:-1])
        w = weights["model.layers.2.mlp.down_proj.weight"][:, unit] * weights["model.norm.weight"]
        order = (weights["lm_head.weight"] @ w).argsort(descending=True)
        tokenizer = load("model").tokenizer
        assert tokenizer is not None
        order = [int(i) for i in order if i < len(tokenizer)]
        assert row.raised[0].strip() == str(tokenizer.decode([order[0]])).strip()
        assert row.lowered[0].strip() == str(tokenizer.decode([order[-1]])).strip()


def test_a_grid_gives_eta_squared_by_factor(workspace: Path):
    outcome = go("neurons scan", model="bundled:base", grid="stories", site=["mlp_hidden.2"], new_tokens=2, out="run")
    found = outcome.result
    assert {f.factor for f in found.factors} >= {"core", "type", "level"}
    for factor in found.factors:
        assert factor.chance == pytest.approx((factor.levels - 1) / (factor.prompts - 1))
        assert list(factor.eta_squared) == sorted(factor.eta_squared, reverse=True)
    table = polars.read_parquet("run/tables/factors.parquet")
    assert table["type"].max() == found.factors[[f.factor for f in found.factors].index("type")].eta_squared[0]
    assert (
        found.n_tokens > go("neurons scan", model="bundled:base", grid="stories", site=["mlp_hidden.2"]).result.n_tokens
    )


def test_an_altered_table_is_found(texts: str, workspace: Path):
    from radiograph.methods.neurons.scan import recompute

    make.folder(workspace / "model")
    go("neurons scan", model="model", text=[texts], out="run")
    document = json.loads(Path("run/result.json").read_text())
    assert recompute(document, Path("run")) == []
    document["loud"][0], document["loud"][1] = document["loud"][1], document["loud"][0]
    assert "loud: the table gives" in recompute(document, Path("run"))[0]


def test_bad_input_is_named(texts: str, workspace: Path):
    make.folder(workspace / "model")
    with pytest.raises(UserError, match="texts or a grid"):
        go("neurons scan", model="model")
    with pytest.raises(UserError, match="outside the model"):
        go("neurons scan", model="model", text=[texts], site=["mlp_hidden.9"])
    (workspace / "one.txt").write_text("a")
    with pytest.raises(UserError, match="no text has a token to measure") as caught:
        go("neurons scan", model="model", text=["one.txt"])
    assert "first position" in str(caught.value)
