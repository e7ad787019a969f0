"""`inspect` on files of records: what is found, what changes nothing, what a bundle can be asked to show again."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from radiograph.runtime import verify
from radiograph.store import Bundle
from reports._html import StrictPage
from running import contents

from .make import inspect, lines, table, write

CAUSAL = re.compile(r"\b(affects?|promotes?|suppress(?:es)?|causes?)\b", re.IGNORECASE)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One run that several tests look at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("inspect"))
        patch.delenv("RADIOGRAPH_BASE_DIR", raising=False)
        write(Path("records.jsonl"), lines())
        yield inspect(out="run", cards=4, search="lamp units")


@pytest.fixture
def files(workspace):
    """The same file in a folder of its own."""
    return write(workspace / "records.jsonl", lines())


def test_x5_1_planted_features_are_first_and_nothing_else_is_confirmed_small(run):
    result = run.result
    assert result.outcome == "found" and int(run.exit_code) == 0
    found = {f.feature: f for f in result.correlational.findings}
    assert {name for name, f in found.items() if f.grade in ("confirmed", "specific", "robust")} == {"metre", "form"}
    assert found["metre"].grade == "robust"
    cause = found["metre"].statistic
    assert cause.name == "auroc" and cause.interval[0] < cause.estimate < cause.interval[1]
    assert (cause.n.units, cause.family, cause.method) == (80, 22, "delong")
    assert table(run).sort("rank")["feature_id"][:2].to_list() == [f.feature for f in result.correlational.findings[:2]]


def test_x5_4_a_feature_of_the_form_is_a_surface_cue(run):
    form = next(f for f in run.result.correlational.findings if f.feature == "form")
    assert form.grade == "confirmed" and "surface_cue" in form.codes
    assert form.near_miss.interval[0] < 0.5 < form.near_miss.interval[1]


def test_y3_3_without_interventions_nothing_speaks_of_causes(run):
    result = json.loads((run.path / "result.json").read_text())
    assert result["causal"]["findings"] == [] and result["causal_grades"] == {"untested": 22}
    assert set(table(run, "causal")["codes"]) == {"no_outcome"}
    page = StrictPage((run.path / "report.html").read_text())
    for said in (page.text, (run.path / "report.md").read_text(), json.dumps(result)):
        assert CAUSAL.findall(said) == []


def test_z_all_features_stand_in_both_tables_and_cards_limit_display_alone(run, files):
    assert len(table(run)) == len(table(run, "causal")) == 22
    assert len(run.result.cards) == 4
    more = inspect(cards=0)
    assert more.result.cards == ()
    assert [f.grade for f in more.result.correlational.findings] == [f.grade for f in run.result.correlational.findings]


def test_x5_8_cards_are_one_valid_page_without_script(run):
    page = (run.path / "report.html").read_text()
    assert StrictPage(page).faults == []
    assert "<script" not in page and "http" not in re.sub(r"http-equiv", "", page)
    card = next(card for card in run.result.cards if card.feature == "metre")
    assert {c.role for c in card.contexts} == {"top", "decile", "near_miss_fires", "near_miss_silent"}
    assert sum(sum(bar.counts) for bar in card.histogram.bars) + sum(card.histogram.zeros) == 160
    assert [c.kind for c in card.classes] == ["positive", "near_miss", "negative"]
    silent = [c.value for c in card.contexts if c.role == "near_miss_silent"]
    assert silent and not any(silent)
    assert len({(c.role, c.prompt_id) for c in card.contexts}) == len(card.contexts)


def test_bundle_verifies_and_needs_no_torch(run):
    assert verify(run.path, run.seal).status == "intact"
    manifest = Bundle(run.path).manifest
    assert {step.name for step in manifest.steps} == {"rows", "study", "cards"}


def test_stored_records_are_inspected_and_verified_without_torch(files):
    code = (
        "import sys\nfrom radiograph.surfaces.cli._main import run\n"
        "code = run(['inspect', 'm', '--criterion', 'units', '--features', 'records:records.jsonl', '--out', 'run',"
        " '--bootstrap', '50'])\ncode = code or run(['verify', 'run'])\nsys.exit(code or 40 * ('torch' in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=120, check=False).returncode == 0


def test_y3_1_zeros_omitted_written_or_half_and_half_are_one_table(run, files):
    for share in (1, 2):
        rows = lines()
        names = sorted({name for row in rows for name in row["features"]})
        for number, row in enumerate(rows):
            if number % share == 0:
                row["features"] = dict.fromkeys(names, 0.0) | row["features"]
        write(files, rows)
        again = inspect(cards=0)
        assert table(again).equals(table(run))


def test_y3_2_words_of_the_criterion_change_no_statistic(run, files):
    other = inspect(criterion="something else entirely", cards=0)
    assert table(other).equals(table(run))
    renamed = lines()
    for row in renamed:
        row["label"] = row.pop("criterion_score") == 1
        row["kind"] = {"negative": "neutral"}.get(row["kind"], row["kind"])
    write(files, renamed)
    assert table(inspect(cards=0)).equals(table(run))


def test_y3_4_poisoning_confirm_leaves_the_candidates(run, files):
    rows, split = lines(), json.loads((run.path / "criterion" / "split.json").read_text())["halves"]
    for row in rows:
        if split[row["group_id"]] == "confirm":
            row["features"] = {f"n{(int(name[1:]) + 7) % 20}" if name[1:].isdigit() else "metre": 9.0
                               for name in row["features"]}  # fmt: skip
    write(files, rows)
    poisoned = inspect(cards=0, candidates=5, split=str(run.path / "criterion" / "split.json"))
    chosen = table(run).with_columns(pl.col("discover_z").abs().alias("size")).filter("eligible")
    expected = set(chosen.sort("size", descending=True)["feature_id"][:5])
    assert set(table(poisoned).filter("candidate")["feature_id"]) == expected


def test_y3_4_preselected_records_stop_at_candidate(files):
    rows = lines()
    for row in rows:
        row["feature_metadata"] = {"metre": {"signed_selection_correlation": 0.9}}
    write(files, rows)
    result = inspect(cards=0, require="correlational:confirmed")
    assert {f.grade for f in result.result.correlational.findings} == {"candidate"}
    assert all("preselected" in f.codes for f in result.result.correlational.findings)
    assert int(result.exit_code) == int(inspect(cards=0).exit_code) == 4
    assert "nothing to confirm" in result.result.headline


def test_y3_5_repeated_rows_of_a_group_change_neither_interval_nor_p(run, files):
    write(files, [row | {"prompt_id": f"{row['prompt_id']}-{copy}"} for row in lines() for copy in range(5)])
    again = inspect(cards=0)
    for name in ("estimate", "analytic_low", "analytic_high", "p_analytic", "p_permutation", "q", "grade", "active"):
        assert table(again)[name].to_list() == table(run)[name].to_list(), name


def test_y3_6_shuffled_rows_and_small_ranges_give_the_same_bytes(run, files):
    rows = lines()
    write(files, [rows[i] for i in sorted(range(160), key=lambda i: i * 37 % 160)])
    again = inspect(out="again", cards=4, search="lamp units", memory=4096)
    held, other = contents(run.path), contents(again.path)
    for name in ("result.json", "tables/correlational.parquet", "tables/causal.parquet", "criterion/split.json"):
        assert other[name] == held[name], name


def test_y3_6_one_thread_and_several_give_the_same_bytes(workspace):
    rows, found = lines(3000, noise=60), []
    asked = ["--features", "records:large.jsonl", "--cards", "2", "--permutations", "200", "--bootstrap", "200"]
    for threads in ("1", "3"):
        # A folder of its own: records that were turned before would not depend on the threads of this run.
        place = workspace / threads
        place.mkdir()
        write(place / "large.jsonl", rows)
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")
        env = {k: v for k, v in os.environ.items() if k != "RADIOGRAPH_BASE_DIR"} | dict.fromkeys(names, threads)
        command = [sys.executable, "-m", "radiograph", "inspect", "m", "--criterion", "units", *asked, "--out", "run"]
        ended = subprocess.run(command, cwd=place, env=env, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
        found.append(contents(place / "run"))
    for name in ("result.json", "tables/correlational.parquet", "tables/causal.parquet", "criterion/split.json"):
        assert found[0][name] == found[1][name], name


def test_y3_6_a_million_times_the_activation_keeps_ranks_and_grades(run, files):
    rows = lines()
    for row in rows:
        row["features"] = {name: value * 1e6 for name, value in row["features"].items()}
    write(files, rows)
    for name in ("rank", "grade", "codes", "estimate", "q"):
        assert table(inspect(cards=0))[name].to_list() == table(run)[name].to_list(), name


@pytest.mark.parametrize(
    ("name", "column", "changed", "said"),
    [
        ("correlational", "grade", "robust", "grade 'robust' does not follow"),
        ("correlational", "q", 0.01, "q "),
        ("correlational", "p_permutation", 1e-9, "does not follow"),
        ("correlational", "codes", "", "codes"),
        ("causal", "grade", "validated", "causal grades"),
    ],
)
def test_verify_derives_grades_codes_and_q_again(run, tmp_path, name, column, changed, said):
    import shutil

    from radiograph.methods.inspect import recompute

    folder = shutil.copytree(run.path, tmp_path / "copy")
    path = folder / "tables" / f"{name}.parquet"
    held = pl.read_parquet(path)
    place = held["candidate"].arg_true()[-1] if "candidate" in held.columns else 0
    values = held[column].to_list()
    values[place] = changed
    held.with_columns(pl.Series(column, values, dtype=held.schema[column])).write_parquet(path)
    assert any(said in text for text in recompute(Bundle(folder).result, folder))
    assert int(verify(folder).exit_code) == 2  # one edited byte is enough


def test_a_search_is_a_search(files):
    rows = lines()
    for row in rows:
        row["feature_metadata"] = {"metre": {"label": "Units of length"}, "n1": {"label": "lamps"}}
    write(files, rows)
    result = inspect(cards=1, search="lamps units").result
    assert [(hit.feature, hit.words) for hit in result.search] == [("metre", 1), ("n1", 1)]
    assert result.cards[0].explanation.text == "Units of length"


def test_a_score_is_tested_by_its_ranks(files):
    rows = lines()
    for number, row in enumerate(rows):
        row["criterion_score"] = round(0.5 + row["criterion_score"] / 4 + number / 10_000, 4) if row["kind"] else 0
        del row["kind"]
    write(files, rows)
    result = inspect(score="continuous", threshold=0.7, cards=1).result
    assert result.study.design.name == "continuous"
    assert result.correlational.findings[0].statistic.name == "spearman"
    low = inspect(score="continuous", threshold=1.0, cards=0).result  # no score is positive, and they are ranked
    assert low.criterion.rows.positive == 0
    assert low.outcome == "found" and low.study.design.name == "continuous"


def test_scores_of_tokens_are_those_of_their_tokens(files):
    rng = np.random.default_rng(0)
    rows = []
    for row in range(60):
        for token, score in enumerate((row / 60 + 0.3 * rng.random(3)).round(4).tolist()):
            head = {"model": "m", "prompt_id": f"p{row}", "token": token, "criterion_score": score / 2}
            rows.append(head | {"features": {"same": score**2 + 0.01, "other": rng.random()}})
    write(files, rows)
    result = inspect(score="continuous", cards=0).result
    assert result.study.design.pool == "token"
    assert next(f for f in result.correlational.findings if f.feature == "same").statistic.estimate > 0.99


def test_compiling_alone_stops_there(workspace):
    rows = [{"text": text_of, "label": n % 2 == 0} for n, text_of in enumerate(map(str, lines(40)))]
    write(workspace / "prompts.jsonl", rows)
    done = inspect((), prompts="prompts.jsonl", compile_only=True)
    assert done.result.outcome == "compiled" and int(done.exit_code) == 0
    assert (done.path / "criterion" / "criterion_rows.parquet").is_file()


def test_labels_of_prompts_are_joined_by_id(run, files, workspace):
    rows = lines()
    prompts = [{k: row[k] for k in ("prompt_id", "group_id", "text", "kind")} for row in rows]
    write(workspace / "prompts.jsonl", [p | {"label": p["kind"] == "positive"} for p in prompts])
    for row in rows:
        del row["criterion_score"], row["kind"]
    write(files, [*rows, {"model": "m", "prompt_id": "stranger", "text": "none", "features": {"n0": 1.0}}])
    done = inspect(prompts="prompts.jsonl", cards=0, near_duplicates="off")
    assert table(done)["estimate"].to_list() == table(run)["estimate"].to_list()
    assert done.result.sources[0].unlabelled == 1
