"""Capture end to end: what a bundle holds, what resuming and recipes give, and what is refused."""

import json

import numpy as np
import polars as pl
import pytest

import radiograph.interventions._commit as commit
from radiograph.core import ExitCode, FormatError, UserError
from radiograph.evidence import Card, Decoding, Dose, Recipe
from radiograph.interventions import run_recipe, statistics_sha256
from radiograph.models import load, stop_ids
from radiograph.organisms import bundled_path
from radiograph.store.collapse import read_study_tsv
from radiograph.store.vectors import open_vectors
from running import contents, go

BASE = "bundled:base"
GRID = """>> CORE_ID: red_ball
[LEVEL 1]
declarative: Lily saw a red ball
rhetorical: Did Lily see a red ball
[LEVEL 2]
declarative: Lily saw a very red ball
rhetorical: Did Lily see a very red ball
>> CORE_ID: dog
[LEVEL 1]
declarative: Tom has a big dog
rhetorical: Has Tom a big dog
[LEVEL 2]
declarative: Tom has a very big dog
rhetorical: Has Tom a very big dog
"""
WRITE = "mlp_hidden.2[17]:set:-5,5"


@pytest.fixture
def grid(workspace):
    (workspace / "grid.txt").write_text(GRID)
    return "grid.txt"


@pytest.fixture(scope="module")
def base():
    return load(str(BASE), resolve=bundled_path)


def capture(out, **config):
    return go("resonance.capture", out=out, **{"model": BASE, "new_tokens": 8, **config})


def test_a_bundle_holds_every_row_and_its_vectors(workspace, grid):
    run = capture("a", grid=grid, site=["mlp_hidden.2", "resid_post.*"], write=[WRITE], tsv=True, divergence=True)
    found = open_vectors(workspace / "a")
    assert run.exit_code == ExitCode.PASS and run.result.rows == found.n_rows == 24
    rows = found.rows
    assert rows["row"].to_list() == list(range(24))
    assert {"core", "type", "level", "variant", "dose_raw", "dose_quantile", "positions", "min_gap"} <= set(
        rows.columns
    )
    assert set(rows["core"]) == {"red_ball", "dog"}
    values = found.read("mlp_hidden.2")
    assert values.shape == (24, found.width("mlp_hidden.2")) and np.isfinite(values).all()
    for condition, held in (("mlp_hidden.2[17]:set:5@all", 5), ("mlp_hidden.2[17]:set:-5@all", -5)):
        assert (values[(rows["condition"] == condition).to_numpy(), 17] == held).all()
    assert (rows.filter(pl.col("condition") == "none")["kl_steps"] == 0).all()
    document = json.loads((workspace / "a" / "conditions.json").read_text())
    assert [c["name"] for c in document["conditions"]] == run.result.model_dump(mode="json")["conditions"]
    lines = (workspace / "a" / "rows.tsv").read_text().splitlines()
    assert lines[0].split("\t") == ["core_id", "type", "level", "sweep", "prompt", "output"]
    assert lines[1].split("\t")[:4] == ["red_ball", "declarative", "1", "baseline"] and len(lines) == 25
    assert go("verify", out="v", run="a").exit_code == ExitCode.PASS
    read = read_study_tsv(workspace / "a" / "rows.tsv")
    assert [row.output for row in read] == rows["text"].to_list()
    assert [row.sweep for row in read[:3]] == [None, "-5", "5"]


def test_d8_widths_and_depths_are_the_models_own(workspace, grid, base):
    run = capture("a", grid=grid, site=["mlp_hidden.*", "attn_z.*", "final_norm"], new_tokens=0, pool="prompt")
    widths = {site.site: site.width for site in run.result.sites}
    assert widths["mlp_hidden.0"] == base.mlp_width and widths["final_norm"] == base.width
    assert len(widths) == 2 * base.n_layers + 1


def test_e8_a_killed_run_ends_with_the_same_bytes(workspace, grid, monkeypatch):
    options = {"grid": grid, "site": ["mlp_hidden.2"], "write": [WRITE], "batch_rows": 6, "mode": "sample"}
    whole = capture("whole", **options)
    real, done = commit.run_batch, []

    def killed(*arguments):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(1)
        return real(*arguments)

    monkeypatch.setattr(commit, "run_batch", killed)
    with pytest.raises(KeyboardInterrupt):
        capture("half", **options)
    (partial,) = workspace.glob("half*.partial")
    assert len(list((partial / "vectors").glob("*.safetensors"))) == 2
    with pytest.raises(FormatError, match="no bundle"):
        open_vectors(partial)
    monkeypatch.setattr(commit, "run_batch", lambda *a: (done.append(1), real(*a))[1])
    again = capture("again", resume=partial.name, **options)
    assert len(done) == len(json.loads((workspace / "whole" / "vectors" / "index.json").read_text())["batches"])
    assert again.result == whole.result and not partial.exists()
    for name, data in contents(workspace / "whole").items():
        if name.startswith(("tables/", "vectors/", "conditions")):
            assert (workspace / "again" / name).read_bytes() == data, name


def test_effects_are_those_of_rows_beside_their_baselines(workspace, grid):
    run = capture(
        "a", grid=grid, write=["mlp_hidden.2[17]:set:-40,40", "mlp_hidden.2[3]:add:0", "mlp_hidden.2:set:1e38"]
    )
    rows = open_vectors(workspace / "a").rows
    base = {row["prompt_id"]: row for row in rows.filter(pl.col("condition") == "none").to_dicts()}
    for effect in run.result.effects:
        own = rows.filter(pl.col("condition") == effect.condition).to_dicts()
        told = [row for row in own if row["stop"] != "non-finite" and effect.condition != "none"]
        same = [row for row in told if row["ids"] == base[row["prompt_id"]]["ids"]]
        assert (effect.rows, effect.compared, effect.identical) == (len(own), len(told), len(same))
        shifts = [abs(row["mean_logprob"] - base[row["prompt_id"]]["mean_logprob"]) for row in told]
        assert effect.shift == (pytest.approx(np.mean(shifts)) if told else None)
    by_name = {effect.condition: effect for effect in run.result.effects}
    assert by_name["mlp_hidden.2[3]:add:0@all"].changed == 0 and by_name["mlp_hidden.2:set:1e+38@all"].compared == 0
    assert run.result.pairs and all(pair.before != pair.after for pair in run.result.pairs)
    cells = run.result.cells
    assert cells is not None and set(cells.factors) == {"type", "level"}
    moved = sum(cell.n * cell.value for cell in cells.cells)
    assert cells.metric != "changed" or moved == pytest.approx(
        sum(e.compared - e.identical for e in run.result.effects)
    )
    for text in ("What each write did", "broke", "Some texts that changed"):
        assert text in (workspace / "a" / "report.html").read_text()


def test_a_capture_whose_effects_were_altered_does_not_verify(workspace, grid):
    from radiograph.methods.resonance.capture import recompute

    run = capture("a", grid=grid, write=[WRITE])
    found = run.result.model_dump(mode="json")
    assert recompute(found, workspace / "a") == []
    found["effects"][1]["identical"] += 1
    (said,) = recompute(found, workspace / "a")
    assert "effects" in said


def test_a_run_that_did_something_else_is_not_gone_on_with(workspace, grid, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(commit, "run_batch", killed)
    with pytest.raises(KeyboardInterrupt):
        capture("half", grid=grid)
    (partial,) = workspace.glob("half*.partial")
    monkeypatch.setattr(commit, "run_batch", None)
    with pytest.raises(UserError, match="did something else"):
        capture("again", grid=grid, new_tokens=9, resume=str(partial))


def test_r10_what_is_written_aside_followed_text_in_the_last_block_moves_nothing(workspace, grid):
    capture("a", grid=grid, site=["mlp_hidden.2"], write=["mlp_hidden.2[17]:set:100"], follow="reference", batch_rows=5)
    found = open_vectors(workspace / "a")
    values, rows = found.read("mlp_hidden.2"), found.rows
    told = ~rows["vector"].is_null().to_numpy()  # some answers are empty
    values, rows = values[told], rows.filter(told)
    base = (rows["condition"] == "none").to_numpy()
    moved = values[~base] - values[base]
    assert (values[~base, 17] == 100).all()
    assert not np.delete(moved, 17, axis=1).any()
    assert rows["text"].to_numpy()[base].tolist() == rows["text"].to_numpy()[~base].tolist()


def test_one_recipe_and_one_seed_give_one_text(workspace, grid, base):
    card = Card(id="a", site="mlp_hidden.2", unit=17, op="set", dose=Dose(value=4))
    decoding = Decoding(mode="sample", temperature=0.9, top_k=40, new_tokens=10, seed=5)
    recipe = Recipe(model=BASE, prompt="Lily saw a red ball", decoding=decoding, rack=(card,))
    (workspace / "r.json").write_text(json.dumps(recipe.model_dump(mode="json")))
    run = go("resonance.capture", out="a", model=BASE, recipe="r.json", site=["resid_post.1"])
    rows = open_vectors(workspace / "a").rows
    plain, written = run_recipe(base, recipe)
    assert rows["text"].to_list() == [plain.text, written.text]
    assert run.result.recipe_sha256 == recipe.sha256
    sampled = {"mode": "sample", "temperature": 0.9, "top_k": 40, "new_tokens": 10}
    go("resonance.capture", out="b", seed=5, model=BASE, grid=grid, write=["mlp_hidden.2[17]:set:4"], **sampled)
    there = open_vectors(workspace / "b").rows.filter(pl.col("prompt") == recipe.prompt)
    assert there["text"].to_list() == [plain.text, written.text]


def test_a_recipe_names_the_statistics_it_was_made_with(workspace, base):
    from radiograph.harvest.statistics import site_statistics

    found = site_statistics(base, ["Lily saw a red ball.", "Tom has a big dog."], ["mlp_hidden.2"])
    card = Card(id="a", site="mlp_hidden.2", unit=17, op="set", dose=Dose(value=3, unit="sd"))
    parts = {"model": BASE, "prompt": "Lily saw a", "rack": (card,), "decoding": Decoding(new_tokens=2)}
    run_recipe(base, Recipe(statistics=statistics_sha256(found), **parts), statistics=found)
    with pytest.raises(UserError, match="other site statistics"):
        run_recipe(base, Recipe(statistics=f"sha256:{'0' * 64}", **parts), statistics=found)


def test_doses_in_sd_are_told_in_raw_and_cached(workspace, grid):
    first = capture("a", grid=grid, write=["mlp_hidden.2[17]:set:3sd"], new_tokens=2)
    assert (workspace / ".radiograph" / "statistics").is_dir()
    second = capture("b", grid=grid, write=["mlp_hidden.2[17]:set:3sd"], new_tokens=2)
    assert first.result == second.result and first.result.statistics_sha256
    row = open_vectors(workspace / "a").rows.row(1, named=True)
    assert (row["dose_value"], row["dose_unit"]) == (3, "sd") and row["dose_sd"] == pytest.approx(3)
    assert row["dose_raw"] != 3 and 0.9 < row["dose_quantile"] <= 1


def test_directions_come_from_a_file(workspace, grid):
    from safetensors.numpy import save_file

    rows = np.random.default_rng(0).normal(size=(2, 64)).astype(np.float32)
    save_file({"tone": rows[0], "plane": rows}, workspace / "d.safetensors")
    writes = ["resid_post.1~tone:add:2@generated", "resid_post.1~plane:project-out"]
    run = capture("a", grid=grid, write=writes, directions="d.safetensors", site=["resid_post.1"])
    values, table = open_vectors(workspace / "a").read("resid_post.1"), open_vectors(workspace / "a").rows
    out = values[(table["condition"] == f"{writes[1]}@all").to_numpy()]
    assert np.nanmax(np.abs(out @ rows.T)) < 1e-3 and len(run.result.conditions) == 3
    save_file({"zero": np.zeros(64, np.float32)}, workspace / "z.safetensors")
    with pytest.raises(UserError, match="is no direction"):
        capture("b", grid=grid, write=["resid_post.1~zero:add:1"], directions="z.safetensors")


def test_rows_that_break_are_counted_and_all_of_them_are_exit_4(workspace, grid):
    loud = "mlp_hidden.2:set:1e38"
    run = capture("a", grid=grid, site=["mlp_hidden.2"], write=[loud])
    assert run.exit_code == ExitCode.PASS and run.result.stops["non-finite"] == 8
    assert run.result.without_vector["logits are not finite"] == 8
    found = open_vectors(workspace / "a")
    broken = (found.rows["stop"] == "non-finite").to_numpy()
    assert np.isnan(found.read("mlp_hidden.2")[broken]).all()
    from radiograph.methods.resonance.capture import Capture

    every = run.result.model_copy(update={"stops": {"non-finite": 24}, "rows": 24})
    assert isinstance(every, Capture) and every.exit_code == ExitCode.NOT_MEASURED


def test_text_alone_and_prompts_alone(workspace, grid):
    texts = capture("a", grid=grid, write=[WRITE])
    assert texts.result.sites == () and not list((workspace / "a" / "vectors").glob("*.safetensors"))
    prompts = capture("b", grid=grid, site=["resid_post.1"], new_tokens=0, pool="last-prompt")
    assert prompts.result.new_tokens == 0 and prompts.result.without_vector == {}
    nothing = capture("c", grid=grid, site=["resid_post.1"], new_tokens=0)
    assert nothing.result.without_vector == {"no new token": 8}
    tokens = capture("d", grid=grid, site=["resid_post.1"], pool="tokens")
    rows, number, values = open_vectors(workspace / "d").read_tokens("resid_post.1")
    assert len(rows) == len(values) <= tokens.result.new_tokens and number.max() < 8
    mean = open_vectors(workspace / "d").read("resid_post.1")[3]
    np.testing.assert_allclose(mean, values[rows == 3].mean(0), rtol=1e-5, atol=1e-6)


def test_a_changed_shard_is_not_read(workspace, grid):
    capture("a", grid=grid, site=["resid_post.1"])
    (shard,) = (workspace / "a" / "vectors").glob("*.safetensors")
    shard.write_bytes(shard.read_bytes()[:-1] + b"\x01")
    with pytest.raises(FormatError, match="not the one that was captured"):
        open_vectors(workspace / "a").read("resid_post.1")
    with pytest.raises(UserError, match="holds no vectors"):
        open_vectors(workspace / "a").read("resid_post.2")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "--grid or --recipe"),
        ({"grid": "grid.txt", "samples": 2}, "--mode sample"),
        ({"grid": "grid.txt", "mode": "sample", "samples": 2, "tsv": True}, "one text a prompt"),
        ({"grid": "grid.txt", "new_tokens": 10_000}, "do not fit"),
        ({"grid": "grid.txt", "where": "tipe=declarative"}, "type"),
        ({"grid": "grid.txt", "write": ["mlp_hidden.2[9999]:set:1"]}, "0 to"),
        ({"grid": "grid.txt", "write": ["mlp_hidden.2[1]:set:1; mlp_hidden.2[1]:set:2"]}, "two writes set"),
        ({"grid": "grid.txt", "site": ["resid_post.77"]}, "a layer from 0"),
        ({"grid": "grid.txt", "conditions": "bad.yaml"}, "holds no conditions"),
        ({"recipe": "bad.json", "new_tokens": 50}, "radiograph.recipe"),
        ({"recipe": "newer.json", "new_tokens": 50}, "newer radiograph"),
        ({"recipe": "bad.json", "new_tokens": 50, "top_k": 3}, "--top-k"),
    ],
)
def test_bad_input_is_refused_before_anything_runs(workspace, grid, options, said):
    (workspace / "bad.yaml").write_text("conditions: none")
    (workspace / "bad.json").write_text('{"schema": "radiograph.suite/1"}')
    (workspace / "newer.json").write_text('{"schema": "radiograph.recipe/9"}')
    with pytest.raises(UserError) as caught:
        capture("a", **options)
    assert said in str(caught.value) and caught.value.exit_code == ExitCode.BAD_INPUT
    assert not list(workspace.glob("a*"))


def test_a_long_prompt_can_keep_its_end(workspace, base):
    words = "Tom has a big dog. " * 60
    (workspace / "long.txt").write_text(f">> CORE_ID: dog\n[LEVEL 1]\ndeclarative: {words}\n")
    run = capture("a", grid="long.txt", truncate=True)
    row = open_vectors(workspace / "a").rows.row(0, named=True)
    assert run.result.truncated == 1 and row["truncated"] > 0
    assert row["n_prompt"] + 8 == base.context_length
    assert row["stop"] == "length" or row["ids"][-1] in stop_ids(base)


def test_conditions_come_from_a_file_too(workspace, grid):
    (workspace / "c.yaml").write_text(
        'conditions:\n  - none\n  - "mlp_hidden.2[17]:set:1"\n'
        '  - ["mlp_hidden.2[1]:ablate", "mlp_hidden.1[1]:ablate@last"]\n'
    )
    run = capture("a", grid=grid, conditions="c.yaml")
    both = "mlp_hidden.2[1]:ablate@all; mlp_hidden.1[1]:ablate@last"
    assert run.result.conditions == ("none", "mlp_hidden.2[17]:set:1@all", both)
