"""What is published is whole, and nothing that must stay leaves the machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from auditing import reseal
from hubbing import hubbing
from radiograph.core import ExitCode, UserError
from radiograph.methods._publish import scan as scanning
from radiograph.methods._publish.scan import scan
from radiograph.runtime import Settings, execute, find, resolve, verify
from radiograph.store import Workspace, file_sha256
from radiograph.surfaces._services import services
from running import go

KEY = "hf_" + "aB3" * 12


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with one run, which has tables and a report."""
    folder = tmp_path_factory.mktemp("publish")
    rng = np.random.default_rng(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("RADIOGRAPH_BASE_DIR", raising=False)
        for name in "AB":
            table = np.where(rng.random((60, 6)) < 0.5, 1 + rng.random((60, 6)), 0)
            rows = [
                {"model": name, "prompt_id": f"p{r}", "features": {f"{name}{f}": v for f, v in enumerate(row) if v}}
                for r, row in enumerate(table.tolist())
            ]
            (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        go("match", out="run", left="A.jsonl", right="B.jsonl")
    return folder


@pytest.fixture
def here(made, tmp_path, monkeypatch):
    """A copy of that run in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RADIOGRAPH_BASE_DIR", raising=False)
    shutil.copytree(made / "run", tmp_path / "run")
    return tmp_path


@pytest.fixture
def hub(monkeypatch):
    """A hub that can be reached, and a token for it."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", KEY)
    with hubbing() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


@pytest.fixture(autouse=True)
def warnings_of_others():
    """The hub package hands its files to its own HTTP client in a way that the client no longer likes."""
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Use 'content=", DeprecationWarning)
        yield


def online(**config):
    settings = Settings(workspace=Workspace.current(False), services=services(), offline=False)
    verb = find("publish")
    return execute(verb, resolve(verb, config, environment=False), settings)


def test_z_a_dry_run_lists_files_with_hashes_and_the_card(here):
    outcome = go("publish", run="run", dry_run=True, title="A <b>title</b>", tag=["sae"], licence="cc-by-4.0")
    result = outcome.result
    inside = {f"run/{p.relative_to(here / 'run').as_posix()}" for p in (here / "run").rglob("*") if p.is_file()}
    assert {file.path for file in result.files} == inside | {"README.md"}
    assert (result.leaks, result.url, outcome.exit_code) == ((), None, ExitCode.PASS)
    card = (outcome.path / "card.md").read_text()
    assert card.startswith('---\nlicense: "cc-by-4.0"\ntags: ["radiograph", "interpretability", "sae"]\n')
    for text in ("What was asked and found", "What was not measured", "Limits", "radiograph replay run", "cc-by-4.0"):
        assert text in card
    assert "# A \\<b\\>title\\</b\\>" in card
    assert verify(outcome.path).status == "intact"


def test_z_a_run_goes_to_the_hub_in_one_commit(here, hub):
    outcome = online(run="run", repo="me/evidence", private=True, message="Evidence", revision="draft")
    repo = hub.repos["me/evidence"]
    assert (repo["type"], repo["private"], repo["message"]) == ("dataset", True, "Evidence")
    sent = hub.files("me/evidence", "draft")
    for path in (here / "run").rglob("*"):
        if path.is_file():
            assert sent[f"run/{path.relative_to(here / 'run').as_posix()}"] == path.read_bytes()
    assert sent["README.md"] == (outcome.path / "card.md").read_bytes()
    tables = list((here / "run").rglob("*.parquet"))
    assert len(hub.stored) == len({t.read_bytes() for t in tables}), "tables went as large files"
    assert outcome.result.url.endswith("/commit/" + "c" * 40)
    assert outcome.result.commit == "c" * 40
    everything = b"".join(p.read_bytes() for p in outcome.path.rglob("*") if p.is_file())
    assert KEY.encode() not in everything
    assert hub.tokens == {f"Bearer {KEY}"}
    for name, data in sent.items():
        target = here / "downloaded" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    assert verify(here / "downloaded" / "run").status == "intact"


def test_a_folder_in_a_repository_that_has_a_card_of_its_own(here, hub):
    online(run="run", repo="me/evidence", type="model", path_in_repo="runs/first")
    assert "README.md" not in hub.files("me/evidence")
    assert {"runs/first.md", "runs/first/result.json"} <= set(hub.files("me/evidence"))
    assert hub.repos["me/evidence"]["type"] == "model"


@pytest.mark.parametrize(("status", "code"), [(401, "no_access"), (403, "no_access"), (404, "not_found")])
def test_x9_a_hub_that_refuses_is_bad_input(here, hub, status, code):
    hub.refuse = status
    with pytest.raises(UserError) as error:
        online(run="run", repo="me/evidence")
    assert error.value.code == code
    assert KEY not in str(error.value)


def test_x9_a_hub_that_fails_is_not_measured(here, hub, monkeypatch):
    hub.lose = True
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    outcome = online(run="run", repo="me/evidence")
    assert (outcome.exit_code, outcome.result.code) == (ExitCode.NOT_MEASURED, "hub_unreachable")
    assert hub.files("me/evidence") == {}


def test_without_leave_to_use_the_network_nothing_is_sent(here):
    with pytest.raises(UserError, match="without leave"):
        go("publish", run="run", repo="me/evidence")
    with pytest.raises(UserError, match="where to"):
        go("publish", run="run")
    with pytest.raises(UserError, match="is no repository"):
        go("publish", run="run", repo="evidence", dry_run=True)


def test_z_unfinished_changed_and_newer_runs_are_refused(here):
    shutil.copytree("run", "half.partial")
    with pytest.raises(UserError, match=r"half\.partial is incomplete"):
        go("publish", run="half.partial", dry_run=True)
    manifest = json.loads(Path("run/manifest.json").read_text())
    shutil.copytree("run", "newer")
    Path("newer/manifest.json").write_text(json.dumps({**manifest, "schema": "radiograph.manifest/9"}))
    refused = go("publish", run="newer", dry_run=True)
    assert (refused.exit_code, refused.result.code) == (ExitCode.NOT_MEASURED, "unverifiable")
    Path("run/result.json").write_text("{}")
    with pytest.raises(UserError, match="run is changed"):
        go("publish", run="run", dry_run=True)


def test_every_kind_of_leak_is_found_and_no_key_is_repeated(tmp_path, monkeypatch):
    from radiograph.store.directions import DirectionsHeader, MatrixRecord, write_directions

    secret = "correct-horse-battery"
    monkeypatch.setenv("SERVICE_API_KEY", secret)
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "a.json").write_text(json.dumps({"at": "/home/zelda/data/x.json", "text": "and/or /tmp is fine"}))
    (folder / "b.md").write_text(f"one\ntwo {KEY}\n")
    (folder / "c.jsonl").write_text(json.dumps({"prompt": "p", "private": True}) + "\n")
    (folder / "d.txt").write_text(f"C:\\Users\\zelda\\x\npassword = hunter2hunter2\n{secret}\n")
    pl.DataFrame(
        {"text": ["fine", f"Bearer {KEY}"], "many": [["x"], ["/Users/zelda/y"]], "private": [False, True]}
    ).write_parquet(folder / "e.parquet")
    header = DirectionsHeader(
        tensors={"v": MatrixRecord(site="resid_post.1")},
        model_sha256="0",
        scale="raw",
        grade="effect",
        failing=("dose",),
    )
    write_directions(folder / "steering.unvalidated.safetensors", header, {"v": np.ones(4)})
    (folder / "g.md").write_text("see https://example.org/home/page and src/home/x, tokenizer_sha256: abcdefabcdef0123")
    found = scan(folder)
    kinds = {(leak.file, leak.kind) for leak in found}
    assert kinds == {
        ("a.json", "path"),
        ("b.md", "key"),
        ("c.jsonl", "private"),
        ("d.txt", "path"),
        ("d.txt", "key"),
        ("e.parquet", "key"),
        ("e.parquet", "path"),
        ("e.parquet", "private"),
        ("steering.unvalidated.safetensors", "unvalidated"),
    }
    assert next(leak for leak in found if leak.file == "b.md").place == "line 2"
    said = json.dumps([leak.model_dump() for leak in found])
    assert KEY not in said and secret not in said and "hunter2" not in said


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.csv", "text,Private\nhello,no\nho,TRUE\n"),
        ("p.yaml", "prompts:\n- text: hi\n  private: true\n"),
        ("p.jsonl", '{"text": "hi", "private": "yes"}\n'),
        ("p.json", '[{"text": "hi", "private": 1}]'),
    ],
)
def test_a_mark_is_read_in_every_shape_that_prompts_have(tmp_path, name, text):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / name).write_text(text)
    assert {(leak.file, leak.kind) for leak in scan(folder)} == {(name, "private")}
    for word in ("true", "yes", "TRUE", "1"):
        text = text.replace(word, "false")
    (folder / name).write_text(text)
    assert scan(folder) == []


def test_a_column_of_words_marks_a_table_too(tmp_path):
    for values, found in ((["no", "True"], 1), ([0, 1], 1), (["no", None], 0), ([0.0, 0.0], 0)):
        pl.DataFrame({"private": values}).write_parquet(tmp_path / "t.parquet")
        assert len(scan(tmp_path)) == found


def test_prompts_that_were_private_where_the_run_read_them_stop_it(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RADIOGRAPH_BASE_DIR", raising=False)
    for name in "AB":
        rows = (made / f"{name}.jsonl").read_text().splitlines()
        marked = [{**json.loads(row), "text": f"note {n}", "private": n == 7} for n, row in enumerate(rows)]
        Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in marked))
    go("match", out="run", left="A.jsonl", right="B.jsonl")
    stopped = go("publish", run="run", dry_run=True)
    assert stopped.exit_code is ExitCode.GATE_FAILED and stopped.result.unseen == ()
    leaks = [(leak.file, leak.kind, leak.place, leak.shown) for leak in stopped.result.leaks]
    assert leaks == [
        ("manifest.json", "private", "input left A.jsonl", "line 8"),
        ("manifest.json", "private", "input right B.jsonl", "line 8"),
    ]
    assert go("publish", run="run", dry_run=True, accept=["manifest.json:private"]).exit_code is ExitCode.PASS
    Path("A.jsonl").unlink()
    Path("B.jsonl").write_text("{}\n")
    assert go("publish", run="run", dry_run=True).result.leaks == stopped.result.leaks
    manifest = json.loads(Path("run/manifest.json").read_text())
    for given in manifest["inputs"]:
        del given["private"]
    Path("run/manifest.json").write_text(json.dumps(manifest))
    Path("run/manifest.sha256").write_text(f"{file_sha256(Path('run/manifest.json'))}  manifest.json\n")
    blind = go("publish", run="run", dry_run=True)
    assert blind.exit_code is ExitCode.PASS and blind.result.unseen == ("left A.jsonl", "right B.jsonl")
    assert "not searched" in (blind.path / "report.html").read_text()


def test_criteria_and_records_keep_the_mark_when_their_prompts_are_gone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RADIOGRAPH_BASE_DIR", raising=False)
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("abcdefgh"), 12)) for _ in range(48)]
    heads = [{"prompt_id": f"p{n}", "text": text, "label": n % 2 == 0} for n, text in enumerate(texts)]
    rows = [{"model": "m", **one, "features": {"f": 1.0 + n, "g": 2.0}} for n, one in enumerate(heads)]
    marked = {"plain": {}, "own": {"metadata": {"Private": "yes"}}, "prompts": {}}
    quick = {"model": "m", "criterion": "c", "permutations": 0, "bootstrap": 0, "cards": 1, "near_duplicates": "off"}
    for name, mark in marked.items():
        records, prompts = Path(f"{name}.jsonl"), Path("labels.jsonl")
        records.write_text("".join(json.dumps(row | (mark if n == 3 else {})) + "\n" for n, row in enumerate(rows)))
        prompts.write_text("".join(json.dumps(one | {"private": n == 5}) + "\n" for n, one in enumerate(heads)))
        given = {"prompts": prompts.name} if name == "prompts" else {}
        go("inspect", out=name, features=[f"records:{records}"], **quick, **given)
        records.unlink()
        prompts.unlink()
        found = go("publish", run=name, dry_run=True).result
        places = {leak.file for leak in found.leaks if leak.kind == "private"}
        assert places >= ({"criterion/criterion.json", "result.json"} if name != "plain" else set()), name
        assert bool(places) == (name != "plain")


def test_a_private_publication_never_goes_to_a_public_repository(here, hub):
    online(run="run", repo="me/open")
    before = hub.files("me/open").copy()
    with pytest.raises(UserError, match="is public"):
        online(run="run", repo="me/open", private=True, path_in_repo="more")
    assert hub.files("me/open") == before


def test_a_leak_on_the_seam_of_two_pieces_is_found_once(tmp_path, monkeypatch):
    monkeypatch.setattr(scanning, "PIECE", 1000)
    monkeypatch.setattr(scanning, "OVERLAP", 100)
    for start in (0, 940, 960, 990, 1000, 1950):
        (tmp_path / "x.txt").write_text("\n" * start + f" {KEY} " + "\n" * 1500)
        (found,) = scan(tmp_path)
        assert found.place == f"line {start + 1}"


def test_a_finding_stops_the_publication_until_somebody_looked(here, hub):
    folder = Path("run")
    result = json.loads((folder / "result.json").read_text())
    result["notes"] = ["see /home/zelda/notes"]
    reseal(folder, {"result.json": json.dumps(result).encode()})
    stopped = online(run="run", repo="me/evidence")
    assert stopped.exit_code is ExitCode.GATE_FAILED
    found = {(leak.file, leak.kind) for leak in stopped.result.leaks}
    assert found == {(name, "path") for name in ("result.json", "report.md", "report.html")}
    assert hub.repos == {}
    with pytest.raises(UserError, match="nothing to accept"):
        go("publish", run="run", dry_run=True, accept=["manifest.json:path"])
    passed = go("publish", run="run", dry_run=True, accept=[f"{name}:{kind}" for name, kind in found])
    assert passed.exit_code is ExitCode.PASS
    result["notes"] = [f"key {KEY}"]
    reseal(folder, {"result.json": json.dumps(result).encode()})
    with pytest.raises(UserError, match="a key is never published"):
        go("publish", run="run", dry_run=True, accept=["result.json:key"])


@pytest.mark.slow
def test_x5_8_no_torch_no_network_no_hub_package(here):
    code = (
        "import socket, sys\n"
        "def no(*a): raise AssertionError('network')\n"
        "socket.socket.connect = no\n"
        "from running import go\n"
        "go('match', left='A.jsonl', right='B.jsonl')\n"
        "go('publish', run='run', dry_run=True)\n"
        "heavy = {'torch', 'transformers', 'huggingface_hub'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    for name in "AB":
        rows = [{"model": name, "prompt_id": f"p{r}", "features": {f"{name}{r % 4}": 1.0}} for r in range(60)]
        Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tests = str(Path(__file__).parent.parent.parent)
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": tests})
