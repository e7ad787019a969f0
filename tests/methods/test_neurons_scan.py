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
from radiograph.harvest.statistics._measure import BATCH_TOKENS
from radiograph.models import capture, load, pad
from radiograph.runtime import verify
from radiograph.store.statistics import read_statistics
from running import contents, go, leaks

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


def kept(folder: Path) -> dict[str, bytes]:
    """Every file in which no name or time of the run stands."""
    prefixes = ("result", "tables", "statistics", "figures")
    return {name: data for name, data in contents(folder).items() if name.startswith(prefixes)}


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["2", "5", "ray:2"])
def test_r20_workers_leave_the_bytes_of_one(workers: str, workspace: Path):
    if workers.startswith("ray"):
        pytest.importorskip("ray")
    config = {"model": "bundled:base", "text": ["world:mixture#800"], "covariance": True}
    alone = go("neurons scan", **config, out="alone")
    go("neurons scan", **config, out="shared", workers=workers)
    assert alone.result.n_tokens > 5 * BATCH_TOKENS
    assert kept(workspace / "alone") == kept(workspace / "shared")


@pytest.mark.slow
def test_what_a_worker_finds_is_said_as_by_one(workspace: Path):
    make.folder(workspace / "model")
    weights = load_file(workspace / "model" / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"][7] = 3e38
    save_file(weights, workspace / "model" / "model.safetensors", metadata={"format": "pt"})
    (workspace / "many.txt").write_text("\n\n".join(TEXTS * 60))
    for workers in ("1", "2"):
        with pytest.raises(UserError, match=r"mlp_hidden.1 is not finite") as caught:
            go("neurons scan", model="model", text=["many.txt"], workers=workers)
        assert "unit 7" in str(caught.value)


def test_options_decide_what_is_measured(texts: str, workspace: Path):
    """Sites by pattern, the threshold of firing, the original's list by sd, the covariance; each a second way."""
    make.folder(workspace / "model")
    scanned = {"model": "model", "text": [texts], "site": ["mlp_hidden.{0,2}", "resid_post.1"], "top": 4}
    found = go("neurons scan", **scanned, threshold=0.02, rank="sd", covariance=True, out="run").result
    assert [site.site for site in found.sites] == ["mlp_hidden.0", "mlp_hidden.2", "resid_post.1"]
    model = load("model")
    assert model.tokenizer is not None
    ids = [model.tokenizer(text)["input_ids"] for text in TEXTS]
    sites = [Site("mlp_hidden", 0), Site("mlp_hidden", 2), Site("resid_post", 1)]
    x = {s: torch.cat([capture(model, pad([row]), [s])[s][0, 1:] for row in ids]).double().numpy() for s in sites}
    table = polars.read_parquet("run/tables/units.parquet")
    held = read_statistics(Path("run/statistics"))[0]
    for site in sites:
        own = table.filter(site=str(site))
        assert own["firing"].to_list() == pytest.approx((np.abs(x[site]) > 0.02).mean(0).tolist(), abs=0.05)
        covariance = held[str(site)].covariance
        assert covariance is not None
        np.testing.assert_allclose(covariance, np.cov(x[site].T, bias=True), rtol=1e-3, atol=1e-7)
    spread = {f"{site}[{unit}]": sd for site in sites for unit, sd in enumerate(x[site].std(0))}
    assert [row.unit for row in found.ranked] == sorted(spread, key=lambda unit: spread[unit])[:4]
    assert "how long the write vector is" in found.notes[-1]
    less = go("neurons scan", **scanned, threshold=0.5).result
    assert less.lonely[0].firing < found.lonely[0].firing or less.lonely[0].firing == 0
    assert read_statistics(Path("run/statistics"))[1].sites[0].threshold == 0.02
    writes_nowhere = [row for row in found.ranked if row.unit.startswith("resid_post")]
    assert all(row.write_norm is None and not row.raised for row in writes_nowhere)


def test_contexts_keep_the_spaces_of_the_text(workspace: Path):
    """The bundled tokenizer has a token a word, and a decoder that puts the spaces between them."""
    (workspace / "texts.txt").write_text("the dog is near the barn\n\nthe cat is in the house")
    found = go("neurons scan", model="bundled:base", text=["texts.txt"], site=["mlp_hidden.1"], top=50).result
    places = [place for row in found.loud for place in row.contexts]
    plain = {place.replace("[", "").replace("]", "").replace("<bos>", "").strip() for place in places}
    assert plain <= {
        text[:end] for text in ("the dog is near the barn", "the cat is in the house") for end in range(99)
    }
    assert any(place.endswith("[ is] near the barn") for place in places)


@pytest.mark.usefixtures("drawn")
def test_the_picture_holds_every_unit(texts: str, workspace: Path):
    make.folder(workspace / "model")
    found = go("neurons scan", model="model", text=[texts], out="run").result
    table = polars.read_parquet("run/tables/units.parquet")
    assert sum(cell.units for cell in found.cloud) == len(table)
    mean = sum(cell.firing * cell.units for cell in found.cloud) / len(table)
    assert mean == pytest.approx(table["firing"].mean())
    drawn = Path("run/figures/units.svg").read_text()
    assert all(row.unit in drawn for row in (*found.loud[:4], *found.lonely[:4]))


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
    with pytest.raises(UserError, match="not a number of workers"):
        go("neurons scan", model="model", text=[texts], workers="many")
    with pytest.raises(UserError, match="--max-tokens draws texts"):
        go("neurons scan", model="model", grid="stories", max_tokens=50)
    with pytest.raises(UserError, match="do not fit the model's context") as caught:
        go("neurons scan", model="model", text=[texts], new_tokens=60)
    assert "at most 4 prompt tokens" in str(caught.value)
    with pytest.raises(UserError, match="outside the model"):
        go("neurons scan", model="model", text=[texts], site=["mlp_hidden.9"])
    (workspace / "one.txt").write_text("a")
    with pytest.raises(UserError, match="no text has a token to measure") as caught:
        go("neurons scan", model="model", text=["one.txt"])
    assert "first position" in str(caught.value)
