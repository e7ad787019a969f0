"""`explain features`, `score`, `sync` end to end: on the bundled dictionary, on records, with judges, with exports."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
import sys
from pathlib import Path

import polars
import pytest

from chatting import Fault, chatting
from explanations.make import HEADER, judge, material
from radiograph.core import ExitCode, Refusal, UserError
from radiograph.explanations import write_material
from radiograph.runtime import verify
from radiograph.store import ExplanationCache
from radiograph.store.records import open_records
from running import contents, go, leaks

FAST = {"retries": 0, "concurrency": 2}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with `records`, planted; `told`, their explanations; `live`, some of the bundled dictionary's."""
    home = tmp_path_factory.mktemp("explain")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        write_material(home / "records", material(), HEADER)
        go("explain features", source="records", window=8, out="told")
        go("explain features", source="dictionary:bundled#0-19", model="bundled:base", documents=300, out="live")
    return home


@pytest.fixture
def here(home, monkeypatch):
    monkeypatch.chdir(home)
    return home


def result(run):
    return json.loads(Path(run, "result.json").read_text())


def test_records_and_live_features_are_explained_alike(here):
    told, live = result("told"), result("live")
    assert told["explanations"][0]["text"] == "fires where the token is “km”"
    assert (told["asked"], told["explained"], told["explainer"]) == (4, 3, "heuristic")
    assert live["asked"] == 20 and live["features"] == 256 and live["explained"] >= 8
    first = next(e for e in live["explanations"] if e["promoted"])
    assert len(first["promoted"]) == len(first["suppressed"]) == 5
    assert first["promoted"][0]["change"] > 0 > first["suppressed"][0]["change"]
    assert verify(Path("told")).status == verify(Path("live")).status == "intact"
    assert leaks(here / "live", here) == []


def test_y3_14_reserved_groups_are_not_those_that_explained(here):
    told = result("told")
    reserved = open_records(Path("told/reserved"), verify=True)
    groups = set(reserved.rows.select("group_id").unique().collect()["group_id"].to_list())
    names = set(reserved.rows.select("prompt_id").unique().collect()["prompt_id"].to_list())
    shown = {c["prompt_id"] for e in told["explanations"] for c in e["contexts"]}
    assert shown and names and not shown & names
    assert (len(groups), told["groups"]) == (30, {"learn": 20, "check": 10, "reserved": 30})


def test_an_edited_result_is_found(here, tmp_path):
    from radiograph.methods.explain import features, score

    document = result("told")
    assert features.recompute(document, Path("told")) == []
    leaked = open_records(Path("told/reserved")).rows.select("prompt_id").first().collect()["prompt_id"][0]
    document["explanations"][0]["contexts"][0]["prompt_id"] = leaked
    assert "shown and reserved" in features.recompute(document, Path("told"))[0]
    document = result("told")
    forged = next(e["rule"]["check"] for e in document["explanations"] if e["rule"])
    forged["f1"] = 0.99
    assert features.recompute(document, Path("told")) == [
        "tables/explanations.parquet: rule_f1 is not that of the result"
    ]
    copied = shutil.copytree(here / "told", tmp_path / "copied")
    texts = polars.read_parquet(copied / "tables/texts.parquet")
    first = texts.filter(polars.col("part") == "reserved")["text_sha256"][0]
    hashes = (
        [first, *texts["text_sha256"][1:]] if texts["part"][0] != "reserved" else [*texts["text_sha256"][:-1], first]
    )
    texts.with_columns(polars.Series("text_sha256", hashes)).write_parquet(copied / "tables/texts.parquet")
    assert features.recompute(result("told"), copied)
    go("explain score", run="told", out=str(tmp_path / "scored"))
    document = json.loads((tmp_path / "scored/result.json").read_text())
    assert score.recompute(document, tmp_path / "scored") == []
    for path in (
        ("scores", 0, "value"),
        ("scores", 0, "low"),
        ("scores", 0, "windows"),
        ("scores", 1, "other"),
        ("summaries", 0, "own", "low"),
        ("summaries", 0, "lift", "value"),
        ("summaries", 0, "chance_median"),
        ("scored",),
        ("tokens",),
    ):
        forged = copy.deepcopy(document)
        place = forged
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] += 1
        assert score.recompute(forged, tmp_path / "scored"), path
    for change in ({"value": None, "lift": None, "code": "few_contexts"}, {"feature": 999}):
        forged = copy.deepcopy(document)
        forged["scores"][0] |= change
        assert score.recompute(forged, tmp_path / "scored"), change
    invented = copy.deepcopy(document)
    invented["scores"].append(document["scores"][0] | {"feature": 999})
    assert score.recompute(invented, tmp_path / "scored")


def test_labels_lie_beside_a_dictionary_and_are_read_again(here):
    with ExplanationCache.open(here / "live/labels/labels.sqlite") as cache:
        found = cache.explanations("shipped", "dictionary")
    live = result("live")
    assert sorted(found) == list(range(20)), "asked ones alone"
    assert {n for n, own in found.items() if own} == {e["feature"] for e in live["explanations"] if e["text"]}
    again = go(
        "explain features",
        source="dictionary:bundled#0-19",
        model="bundled:base",
        with_="cache",
        explanations="cache:live/labels/labels.sqlite#shipped/dictionary",
        documents=60,
    ).result
    assert [e.text for e in again.explanations] == [e["text"] for e in live["explanations"]]
    assert "heuristic-1" in again.author


def test_rules_are_scored_without_a_judge(here, tmp_path):
    outcome = go("explain score", run="told", out=str(tmp_path / "scored"))
    found = outcome.result
    assert outcome.exit_code is ExitCode.PASS and verify(tmp_path / "scored").status == "intact"
    (summary,) = found.summaries
    assert (summary.scorer, summary.judge, summary.own.value) == ("rule", "none", 1)
    assert summary.lift.value > 0.9 and summary.empty.value == 0
    assert {s.feature for s in found.scores} == {0, 1, 2} and all(s.windows == 1 for s in found.scores)
    assert found.proxies[0].entropy == 0 and found.proxy_against == "rule"
    assert "lift +" in found.headline


def test_rejected_rules_are_not_scored_and_windows_are_those_of_the_run(here, tmp_path):
    go("explain features", source="live/reserved", window=8, least_f1=0.95, out=str(tmp_path / "strict"))
    told = result(tmp_path / "strict")
    rejected = {e["feature"] for e in told["explanations"] if e["rule"] and e["rule"]["check"]["f1"] < 0.95}
    kept = {e["feature"] for e in told["explanations"] if e["rule"]} - rejected
    assert rejected and kept
    found = go("explain score", run=str(tmp_path / "strict"), out=str(tmp_path / "s")).result
    assert {s.feature for s in found.scores} == kept
    table = polars.read_parquet(tmp_path / "s/tables/rules.parquet")
    windows = table["windows_firing"] + table["windows_silent"]
    assert windows.n_unique() == 1 and windows[0] >= found.tokens / 8


def test_a_real_endpoint_explains_and_judges(here, tmp_path):
    """An LLM that names the words it saw marked, and a judge that takes explanations at their word."""
    from radiograph.methods.explain import score

    def script(payload, number):
        content = payload["messages"][0]["content"]
        if "You study one feature" not in content:
            return judge(payload, number)
        marks = [
            json.loads(line)["marks"]
            for line in content.splitlines()
            if line.startswith('{"text"') and '"marks"' in line
        ]
        words = sorted({mark[0] for own in marks for mark in own})[:3]
        return json.dumps({"explanation": "fires on " + ", ".join(f"“{w}”" for w in words), "rule": "a word list"})

    with chatting(script) as server:
        asked = {"endpoint": server.url, "chat_model": "tiny", **FAST}
        told = go(
            "explain features", source="records:records#0,2", with_="llm", window=8, out=str(tmp_path / "t"), **asked
        )
        assert [e.text for e in told.result.explanations] == ["fires on “km”", "fires on “red”"]
        assert told.result.explanations[0].rule_said == "a word list"
        assert told.result.exchange.calls == 2
        scored = go(
            "explain score", run=str(tmp_path / "t"), scorer=["detection"], seeds=2, out=str(tmp_path / "s"), **asked
        )
        calls = len(server.seen)
    detection = scored.result.summaries[0]
    assert (detection.judge, detection.questions, detection.failed) == ("tiny", 12, 0) and calls == 14
    assert detection.own.value > 0.9 and detection.lift.value > 0.3
    assert scored.exit_code is ExitCode.PASS and verify(tmp_path / "s").status == "intact"
    document = json.loads((tmp_path / "s/result.json").read_text())
    for change in ({"failed": 1}, {"questions": 11}, {"empty": document["summaries"][0]["own"]}, {"scorer": "fuzzing"}):
        forged = copy.deepcopy(document)
        forged["summaries"][0] |= change
        assert score.recompute(forged, tmp_path / "s"), change
    table = polars.read_parquet(tmp_path / "s/tables/answers.parquet")
    assert set(table["whose"]) == {"own", "other", "empty"}
    # The answers are in the cache of the workspace: the same again needs nobody.
    offline = {**asked, "endpoint": "http://127.0.0.1:9", "offline": True}
    again = go("explain score", run=str(tmp_path / "t"), scorer=["detection"], seeds=2, **offline).result
    assert again.scores == scored.result.scores and again.exchange.calls == 0


def test_a_faulty_endpoint_measures_nothing_and_says_so(here, tmp_path):
    with chatting(lambda payload, number: Fault(503)) as server:
        asked = {"endpoint": server.url, "chat_model": "faulty", **FAST}
        outcome = go(
            "explain score", run="told", scorer=["detection", "rule"], seeds=1, out=str(tmp_path / "s"), **asked
        )
        told = go("explain features", source="records", with_="llm", window=8, **asked)
    assert outcome.exit_code is told.exit_code is ExitCode.NOT_MEASURED
    detection, rule = outcome.result.summaries
    assert detection.own is None and rule.own.value == 1
    assert "detection not measured" in outcome.result.headline
    assert told.result.failed == 4 and told.result.explained == 0
    assert verify(tmp_path / "s").status == "intact"
    page = (tmp_path / "s/report.html").read_text()
    assert "not measured" in page and "Ended early" in page


def test_a_budget_leaves_a_part_and_exit_4(here):
    with chatting(lambda payload, number: json.dumps({"explanation": f"e{number}"})) as server:
        asked = {"endpoint": server.url, "chat_model": "paid", "retries": 0, "concurrency": 1}
        first = go("explain features", source="records", with_="llm", window=8, max_calls=1, **asked)
        assert (first.exit_code, first.result.explained) == (ExitCode.NOT_MEASURED, 1)
        assert "budget_spent" in first.result.headline
        second = go("explain features", source="records", with_="llm", window=8, **asked)
        assert (second.exit_code, second.result.explained) == (ExitCode.PASS, 4)
        assert second.result.exchange.cached == 1 and len(server.seen) == 4


def test_markup_in_texts_ids_and_words_is_escaped(here, tmp_path):
    said = "<script>alert(1)</script> \u202egnp [x](http://evil) **b**"
    with chatting(lambda payload, number: json.dumps({"explanation": said})) as server:
        asked = {"endpoint": server.url, "chat_model": "evil", **FAST}
        go("explain features", source="records:records#0", with_="llm", window=8, out=str(tmp_path / "r"), **asked)
    page, text = (tmp_path / "r/report.html").read_text(), (tmp_path / "r/report.md").read_text()
    assert "<script>" not in page and "&lt;script&gt;" in page and "\u202e" not in page + text
    assert "**b**" not in text


BAD = [
    ({"source": "records", "with_": "llm"}, UserError, "--endpoint"),
    ({"source": "records", "with_": "cache"}, UserError, "cache:FILE"),
    ({"source": "records", "with_": "world"}, UserError, "small world"),
    ({"source": "records", "with_": "verbalizer:selfie"}, UserError, "needs the model"),
    ({"source": "records", "with_": "heuristics"}, UserError, "did you mean heuristic"),
    ({"source": "records#9"}, UserError, "9"),
    ({"source": "records", "endpoint": "http://127.0.0.1:9"}, UserError, "--chat-model"),
    ({"source": "dictionary:bundled"}, UserError, "needs the model"),
    ({"source": "nowhere", "model": "bundled:base"}, UserError, "nowhere"),
    ({"source": "prompts"}, Refusal, "--level token"),
    ({"source": "textless"}, Refusal, "what their tokens look like"),
    ({"source": "few"}, Refusal, "too few groups"),
]


@pytest.mark.parametrize(("config", "error", "named"), BAD, ids=[b[2] for b in BAD])
def test_bad_input_says_what_to_do(here, config, error, named):
    if not Path("few").exists():
        write_material(here / "few", material(texts=8), HEADER)
        for name, change in {"prompts": {"level": "prompt"}, "textless": None}.items():
            shutil.copytree(here / "records", here / name)
            if change:
                header = json.loads((here / name / "header.json").read_text())
                (here / name / "header.json").write_text(json.dumps({**header, **change}))
        rows = here / "textless/rows/00000.parquet"
        data = polars.read_parquet(rows).drop("offsets")
        data.write_parquet(rows)
        header = json.loads((here / "textless/header.json").read_text())
        header["parts"][0]["bytes"]["rows"] = rows.stat().st_size
        (here / "textless/header.json").write_text(json.dumps(header))
    before = set(here.iterdir())
    if error is Refusal:
        outcome = go("explain features", **config)
        assert outcome.exit_code is ExitCode.NOT_MEASURED and named in outcome.result.model_dump_json()
    else:
        with pytest.raises(error) as caught:
            go("explain features", **config)
        assert named in str(caught.value)
    assert set(here.iterdir()) - before <= {here / "runs", here / ".radiograph"}


def test_scores_need_a_run_of_explanations_and_a_judge(here):
    with pytest.raises(UserError, match="no run of `explain features`"):
        go("explain score", run="records")
    with pytest.raises(UserError, match="needs a judge"):
        go("explain score", run="told", scorer=["detection"])


def test_a_run_that_did_not_end_or_was_changed_is_not_scored(here, tmp_path):
    altered, table = tmp_path / "altered", tmp_path / "table"
    for to in (altered, table, tmp_path / "told.partial", tmp_path / "unsealed"):
        shutil.copytree("told", to)
    text = (altered / "result.json").read_text()
    (altered / "result.json").write_text(text.replace("fires where the token is", "fires unless the token is"))
    (tmp_path / "unsealed" / "manifest.sha256").unlink()
    part = next((table / "reserved").rglob("*.parquet"))
    part.write_bytes(part.read_bytes() + b" ")
    wrong = {"altered": "altered", "table": "altered", "told.partial": "incomplete", "unsealed": "incomplete"}
    for name, code in wrong.items():
        with pytest.raises(UserError) as caught:
            go("explain score", run=str(tmp_path / name))
        assert (caught.value.code, caught.value.exit_code) == (code, 3), name
    with pytest.raises(UserError, match=r"result.json of altered was changed"):
        go("explain score", run=str(altered))
    with pytest.raises(UserError, match="was changed"):
        go("explain features", source=f"records:{table / 'reserved'}", window=8)


@pytest.mark.slow
def test_z_stored_records_are_explained_without_torch(here):
    code = (
        "import sys; from running import go; go('explain features', source='records', window=8, out='light');"
        "go('explain score', run='light'); from radiograph.runtime import verify; from pathlib import Path;"
        "assert verify(Path('light')).status == 'intact'; assert 'torch' not in sys.modules"
    )
    path = f"{Path(__file__).parent.parent}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=_env(path), timeout=300)
    assert done.returncode == 0, done.stderr


def _env(path):
    import os

    return {**os.environ, "PYTHONPATH": path}


def test_nothing_of_a_run_changes_what_it_read(here):
    before = contents(here / "told")
    go("explain score", run="told")
    assert contents(here / "told") == before
