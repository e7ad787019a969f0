"""`collapse report` and `collapse sweep` end to end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars
import pytest

from radiograph.core import ExitCode, UserError
from radiograph.runtime import verify
from running import go

pytestmark = pytest.mark.usefixtures("workspace")
SLOW = pytest.mark.slow
FINE = "The ferry leaves at nine, and whoever misses it has an hour to look at the harbour and the gulls."
LOOP = "It is a big, shiny boat. " * 6
HEAD = "core_id\ttype\tlevel\tsweep\tprompt\toutput\n"
SWEEP: dict[str, Any] = {
    "model": "bundled:base",
    "grid": "stories",
    "run_on": True,
    "new_tokens": 16,
    "natural": ["world:mixture#40"],
}


def table(folder: Path, outcomes: dict[str, list[tuple[bool, bool]]]) -> str:
    """A table in which (before, after) say collapsed or not; one core a prompt pair."""
    lines = []
    for sweep, pairs in outcomes.items():
        for k, (before, after) in enumerate(pairs):
            core = f"core_{k // 2}"
            if sweep == next(iter(outcomes)):
                lines.append(f"{core}\ttelling\t{k}\tbaseline\tp{k}\t{LOOP if before else FINE}")
            lines.append(f"{core}\ttelling\t{k}\t{sweep}\tp{k}\t{LOOP if after else FINE}")
    (folder / "t.tsv").write_text(HEAD + "\n".join(lines) + "\n")
    return "t.tsv"


def test_r19_d17_a_table_is_counted_by_hand(workspace: Path):
    before = [True, True, True, False, False, False, False, False]
    down = [False, False, True, False, True, True, True, False]
    name = table(workspace, {"-50": list(zip(before, down, strict=True)), "0": [(b, b) for b in before]})
    outcome = go("collapse report", tsv=name, out="run")
    assert outcome.exit_code is ExitCode.PASS
    found = outcome.result
    row, same = found.rows
    assert (row.fine, row.rescued, row.broken, row.collapsed) == (2, 2, 3, 1)
    assert (same.rescued, same.broken, same.identical) == (0, 0, 1.0)
    assert (found.baseline_collapsed, found.baseline_n, found.kinds) == (3, 8, {"loop": 3})
    assert {pair.outcome for pair in found.pairs} == {"rescued", "broken"}
    assert all(pair.loop for pair in found.pairs)
    assert "no controls" in found.headline
    page = (workspace / "run" / "report.html").read_text()
    assert "period 6 words" in page or "tokens" in page
    assert verify(workspace / "run").exit_code is ExitCode.PASS


def test_verify_sees_a_count_that_the_verdicts_do_not_give(workspace: Path):
    from radiograph.methods.collapse import report

    go("collapse report", tsv=table(workspace, {"5": [(True, False)] * 6}), out="run")
    document = json.loads((workspace / "run" / "result.json").read_text())
    assert report.recompute(document, workspace / "run") == []
    document["rows"][0]["rescued"] = 5
    assert len(report.recompute(document, workspace / "run")) == 1


def test_require_rescue_fails_the_gate_without_controls(workspace: Path):
    name = table(workspace, {"5": [(True, False)] * 12})
    outcome = go("collapse report", tsv=name, require="rescue")
    assert outcome.exit_code is ExitCode.GATE_FAILED
    assert outcome.result.rows[0].q < 0.05


def test_d16_a_maximum_over_doses_is_called_one(workspace: Path):
    rng = np.random.default_rng(0)
    doses = {str(k): [(bool(rng.random() < 0.5), bool(rng.random() < 0.5)) for _ in range(8)] for k in range(1, 6)}
    before = [b for b, _ in doses["1"]]
    name = table(workspace, {k: [(b, a) for b, (_, a) in zip(before, v, strict=True)] for k, v in doses.items()})
    found = go("collapse report", tsv=name).result
    assert any("maximum" in note for note in found.notes)


@pytest.mark.parametrize(
    "config",
    [{}, {"tsv": "t.tsv", "log": "x.md"}, {"log": "t.tsv"}, {"tsv": "absent.tsv"}],
)
def test_d10_missing_input_is_an_error_and_never_a_question(workspace: Path, config: dict[str, Any]):
    table(workspace, {"5": [(True, False)] * 4})
    with pytest.raises(UserError):
        go("collapse report", **config)


def test_texts_without_a_baseline_or_a_scored_pair_measure_nothing(workspace: Path):
    (workspace / "t.tsv").write_text(HEAD + f"a\tb\t1\t5\tp\t{FINE}\n")
    assert go("collapse report", tsv="t.tsv").exit_code is ExitCode.NOT_MEASURED
    (workspace / "t.tsv").write_text(HEAD + "a\tb\t1\t5\tp\tshort\na\tb\t1\tNone\tp\tshort\n")
    assert go("collapse report", tsv="t.tsv").exit_code is ExitCode.NOT_MEASURED


def test_labels_of_ones_own_refit_the_score(workspace: Path):
    lines = [f'"{FINE} Number {k} is no other.",0' for k in range(25)]
    lines += [f'"{LOOP} {"again " * (k + 3)}",1' for k in range(25)]
    (workspace / "labels.csv").write_text("text,collapsed\n" + "\n".join(lines) + "\n")
    found = go("collapse report", tsv=table(workspace, {"5": [(True, False)] * 4}), calibrate="labels.csv", out="run")
    assert found.result.calibrated == "labels.csv"
    assert found.result.rows[0].rescued == 4
    assert (workspace / "run" / "score.json").is_file()


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("swept") / "run"
    config = {
        **SWEEP,
        "where": "level=1,variant=1,type!=wishing",
        "write": ["mlp_hidden.2[5]"],
        "dose": "-6,0,6",
        "controls": 20,
    }
    assert go("collapse sweep", **config, decoding_baselines=True, directions=2, out=str(folder)).exit_code == 0
    return folder


def test_a_sweep_claims_on_other_cores_than_it_chose_on(swept: Path):
    found = json.loads((swept / "result.json").read_text())
    assert (found["cores"], found["confirmed_on"]) == (8, 4)
    assert len(found["chosen"]) == 1
    claims = polars.read_parquet(swept / "tables" / "metrics.parquet")
    every = polars.read_parquet(swept / "tables" / "rows.parquet")
    assert (claims["core"].n_unique(), every["core"].n_unique()) == (4, 8)
    assert all(row["n"] + row["not_scored"] == found["n_prompts"] / 2 for row in found["rows"])
    assert verify(swept).exit_code is ExitCode.PASS


def test_controls_are_ranked_by_their_own_texts(swept: Path):
    found = json.loads((swept / "result.json").read_text())
    units, haar, cloud = found["controls"]
    rows = polars.read_parquet(swept / "tables" / "controls.parquet")
    chosen = rows.filter((polars.col("kind") == "units") & (polars.col("condition") == found["chosen"][0]))
    nets = chosen["net"].to_numpy()
    assert (units["n"], len(nets)) == (20, 20)
    assert units["p"] == pytest.approx((1 + (nets >= units["net"]).sum()) / 21)
    assert units["smallest"] == pytest.approx(1 / 21)
    assert haar["p"] is None
    assert cloud["note"] == "no p from controls"


def test_d16_rescued_by_some_dose_stands_beside_the_same_maximum_of_matched_units(swept: Path):
    found = json.loads((swept / "result.json").read_text())
    (best,) = found["maximum"]
    rows = polars.read_parquet(swept / "tables" / "controls.parquet").filter(polars.col("kind") == "units")
    every = rows.group_by("number").agg(polars.col("net").max(), polars.col("condition").n_unique())
    largest = every.filter(polars.col("condition") == 3)["net"].to_numpy()
    assert (best["doses"], best["n"], len(largest)) == (3, 19, 19)
    assert best["net"] == max(row["net"] for row in found["rows"])
    assert best["net_p"] == pytest.approx((1 + (largest >= best["net"]).sum()) / 20)
    assert {band["condition"] for band in found["band"]} == {row["condition"] for row in found["rows"]}
    claims = polars.read_parquet(swept / "tables" / "metrics.parquet")
    fine = claims.filter(~polars.col("collapsed") & (polars.col("condition") != "none"))
    bad = claims.filter(polars.col("collapsed") & (polars.col("condition") == "none"))
    assert best["rescued"] == len(set(fine["prompt_id"]) & set(bad["prompt_id"]))


def test_what_the_plain_model_says_of_texts_is_what_one_row_at_a_time_says(swept: Path):
    import torch

    from radiograph.models import Batch, forward, load, prompt_ids
    from radiograph.organisms import bundled_path

    model = load("bundled:base", resolve=bundled_path)
    rows = polars.read_parquet(swept / "tables" / "rows.parquet")
    claims = polars.read_parquet(swept / "tables" / "metrics.parquet")
    both = claims.join(rows.select("prompt_id", "condition", "judged_ids"), on=["prompt_id", "condition"])
    for row in both.filter(polars.col("n_tokens") > 0).sample(6, seed=0).iter_rows(named=True):
        prompt, text = list(prompt_ids(model.tokenizer, row["prompt"])), row["judged_ids"]
        ids = torch.tensor([prompt + text])
        logits = forward(model, Batch((0,), ids, torch.ones_like(ids, dtype=torch.bool)))[0].double()
        own = [-float(logits[len(prompt) - 1 + k].log_softmax(-1)[token]) for k, token in enumerate(text)]
        assert row["nll"] == pytest.approx(np.mean(own), rel=1e-4)
        assert row["nll_low"] * row["nll_high"] == 0
        assert row["nll_high"] - row["nll_low"] == pytest.approx(row["nll_band"])
        assert row["judge_nll"] is None
        assert (row["kl"] is None) == (row["condition"] == "none")
    assert claims["relevance"].is_not_null().all()


def test_the_report_of_a_sweep_counts_what_the_sweep_counted(swept: Path, workspace: Path):
    ours = json.loads((swept / "result.json").read_text())
    shutil.copytree(swept, workspace / "copy")
    found = go("collapse report", run="copy").result
    assert {row.condition for row in found.rows} == {row["condition"] for row in ours["rows"]}
    assert all(row.n + row.not_scored == ours["n_prompts"] for row in found.rows)
    assert found.baseline_n >= ours["baseline_n"]


@pytest.mark.slow
def test_d12_plain_decoding_is_seeded_and_the_zero_write_changes_nothing_by_itself(workspace: Path):
    config = {**SWEEP, "where": "level=1,type=telling", "write": ["mlp_hidden.2[5]:scale:1"], "controls": 0}
    one = go("collapse sweep", **config, decoding_baselines=True).result
    two = go("collapse sweep", **config, decoding_baselines=True).result
    assert one == two
    assert one.rows[0].identical == 1.0
    assert (one.rows[0].rescued, one.rows[0].broken, one.rows[0].p) == (0, 0, 1.0)
    assert len(one.decoding) == 6


def test_d18_runs_at_the_same_moment_leave_two_folders(workspace: Path):
    name = table(workspace, {"5": [(True, False)] * 4})
    folders = {go("collapse report", tsv=name, seed=seed).path for seed in (0, 1)}
    assert len(folders) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"write": ["mlp_hidden.2[5:9]:set:3"], "controls": 20},
        {"write": ["mlp_hidden.9[5]:set:3"]},
        {"write": ["mlp_hidden.2[5]:scale:2"], "controls": 20},
        {"write": ["mlp_hidden.2[5]:set:3"], "where": "mood=glad"},
        {"write": ["mlp_hidden.2[5]:set:3"], "new_tokens": 4000},
        {"write": ["mlp_hidden.2[5]:set:3"], "temperature": 0.5},
        {"write": ["mlp_hidden.2[5]:set:3"], "mode": "sample", "samples": 2, "tsv": True},
    ],
)
def test_sweeps_that_make_no_sense_are_bad_input(change: dict[str, Any]):
    with pytest.raises(UserError):
        go("collapse sweep", **{**SWEEP, "where": "level=1", "controls": 0, **change})


@pytest.mark.parametrize(
    "part",
    [pytest.param("texts", marks=SLOW), pytest.param("forced", marks=SLOW), pytest.param("controls", marks=SLOW)],
)
def test_e8_a_killed_sweep_goes_on_and_ends_with_the_same_tables(
    workspace: Path, part: str, monkeypatch: pytest.MonkeyPatch
):
    from radiograph.methods.collapse._swept import Study

    config = {**SWEEP, "where": "level=1,variant=1,type=telling", "write": ["mlp_hidden.2[5]:set:-6,6"], "controls": 2}
    config |= {"batch_rows": 6, "mode": "sample", "samples": 2}
    go("collapse sweep", **config, out="whole")
    swept = Study.swept

    def killed(self: Study, name: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        done = swept(self, name, *args, **kwargs)
        if name == part:
            (self.folder / name / "00001.json").unlink()
            raise KeyboardInterrupt
        return done

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Study, "swept", killed)
        go("collapse sweep", **config, out="killed")
    assert not (workspace / "killed").exists()
    go("collapse sweep", **config, resume="killed.partial", out="again")
    for name in ("rows", "metrics", "contingency", "controls"):
        path = f"tables/{name}.parquet"
        assert (workspace / "again" / path).read_bytes() == (workspace / "whole" / path).read_bytes()
    with pytest.raises(UserError):
        go("collapse sweep", **config, resume="whole")


def test_the_texts_of_a_sweep_are_those_of_a_capture(workspace: Path):
    asked: dict[str, Any] = {
        "model": "bundled:base",
        "grid": "stories",
        "where": "level=1,variant=1",
        "write": ["mlp_hidden.2[5]:set:-6,6"],
        "new_tokens": 8,
        "repetition_penalty": 1.2,
        "bos": "never",
        "tsv": True,
    }
    go("collapse sweep", **asked, controls=0, natural=["world:mixture#40"], out="sweep")
    go("resonance capture", **asked, out="capture")
    one, two = (polars.read_parquet(workspace / run / "tables" / "rows.parquet") for run in ("sweep", "capture"))
    same = ["row", "prompt_id", "condition", "ids", "text", "mean_logprob", "sha256"]
    assert one.select(same).equals(two.select(same))
    assert (workspace / "sweep" / "rows.tsv").read_bytes() == (workspace / "capture" / "rows.tsv").read_bytes()
    found = go("collapse report", tsv="sweep/rows.tsv", judge="bundled:base", out="report")
    judged = polars.read_parquet(workspace / "report" / "tables" / "metrics.parquet")
    assert judged["judge_nll"].is_not_null().any()
    assert found.result.baseline_means["nll_band"] is not None


@pytest.fixture(scope="module")
def stuck(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The base with one unit of the last block that writes one token and nothing else."""
    from radiograph.harvest.statistics import site_statistics
    from radiograph.models import load, prompt_ids
    from radiograph.organisms import bundled_path, jammed
    from radiograph.organisms.world import World

    base = load("bundled:base", resolve=bundled_path)
    texts = [document.text for document in World().documents("mixture", "test", seed=3, count=40)]
    natural = site_statistics(base, texts, ["mlp_hidden.2"])["mlp_hidden.2"]
    prompts = [prompt_ids(base.tokenizer, text)[:6] for text in texts[:20]]
    made = jammed(base, prompts, natural, lambda ids: len(set(ids)) * 4 <= len(ids), new_tokens=16)
    folder = tmp_path_factory.mktemp("stuck") / "model"
    made.model.model.save_pretrained(folder, safe_serialization=True)
    assert base.tokenizer is not None
    base.tokenizer.save_pretrained(folder)
    return folder, made


@pytest.mark.slow
def test_r16_ablating_the_jammed_unit_is_a_rescue_that_no_matched_unit_gives(stuck: tuple[Path, Any], workspace: Path):
    folder, made = stuck
    config = {**SWEEP, "model": str(folder), "write": [f"{made.site}[{made.unit}]:ablate"], "controls": 40}
    outcome = go("collapse sweep", **config, require="rescue", out="run")
    found = outcome.result
    row = found.rows[0]
    assert outcome.exit_code is ExitCode.PASS
    assert found.baseline_collapsed >= 0.8 * found.baseline_n
    assert row.rescued > row.broken
    assert row.q < 0.05
    units = found.controls[0]
    assert units.p is not None
    assert units.p < 0.05
    assert units.rank == 1


@pytest.mark.slow
def test_r17_units_nobody_picked_are_not_special(workspace: Path):
    units = np.random.default_rng(5).choice(90, 40, replace=False)
    write = [f"mlp_hidden.2[{unit}]:set:6sd" for unit in units]
    config = {**SWEEP, "where": "variant=1,level<=2", "write": write, "controls": 40, "confirm": 0.5, "batch_rows": 256}
    outcome = go("collapse sweep", **config, require="rescue", out="run")
    rows = polars.read_parquet(workspace / "run" / "tables" / "controls.parquet")
    rng, p = np.random.default_rng(0), []
    for control in outcome.result.controls:
        nets = rows.filter(polars.col("condition") == control.condition)["net"].to_numpy()
        # Ties are broken by lot: p that counts every tie against the unit is not uniform, only too large.
        above, equal = (nets > control.net).sum(), (nets == control.net).sum()
        p.append((above + rng.random() * (1 + equal)) / (len(nets) + 1))
    from scipy import stats

    assert stats.kstest(p, "uniform").pvalue > 0.001
    special = [c for c in outcome.result.controls if c.q is not None and c.q < 0.05]
    assert len(special) <= 1


def test_the_published_design_is_a_workflow_that_can_run(workspace: Path):
    shipped = Path(__file__).parents[2] / "workflows" / "bcr.yaml"
    (workspace / "bcr.yaml").write_text(shipped.read_text())
    outcome = go("run", workflow="bcr.yaml", dry_run=True)
    assert [step.status for step in outcome.result.steps] == ["planned", "planned"]


@pytest.mark.slow
def test_the_published_design_runs(workspace: Path):
    shipped = Path(__file__).parents[2] / "workflows" / "bcr.yaml"
    (workspace / "bcr.yaml").write_text(shipped.read_text())
    small = ("grid=stories", "natural=world:mixture#40", "controls=2", "directions=1", "new_tokens=8")
    outcome = go("run", workflow="bcr.yaml", var=small, out="run")
    assert [step.status for step in outcome.result.steps] == ["done", "done"]
    assert verify(workspace / "run").exit_code is ExitCode.PASS
