"""What a private prompt went into is not published, whichever verb it went through."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from explanations.make import HEADER, material
from moved import TARGETS, plant, write_prompts
from radiograph.core import ExitCode
from radiograph.explanations import write_material
from radiograph.store.lines import marked, marked_input, marked_model
from radiograph.store.records import open_records
from running import go

PUSHED: dict[str, Any] = {
    "model": "planted",
    "criterion": "the next token is a unit",
    "targets": TARGETS,
    "positions": "last",
    "dose": "-1,1",
    "rows": 16,
    "controls": 0,
    "neutral_texts": 2,
}
UNITS = {"features": ["units:mlp_hidden.2#5,9"]}
QUICK: dict[str, Any] = {"permutations": 0, "bootstrap": 0, "cards": 1, "near_duplicates": "off"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Prompts and records, each once with a private one among them; a planted model."""
    folder = tmp_path_factory.mktemp("private")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("RADIOGRAPH_BASE_DIR", raising=False)
        plant(folder / "planted")
        write_prompts(folder / "open.jsonl")
        rows = [json.loads(line) for line in Path("open.jsonl").read_text().splitlines()]
        rows[3]["private"] = True
        Path("secret.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        for name, private in (("open", False), ("secret", True)):
            header = HEADER.model_copy(update={"private": private})
            write_material(folder / f"{name}-records", material(), header)
        yield folder


@pytest.fixture
def here(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, so that what was read can be taken away."""
    shutil.copytree(home, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RADIOGRAPH_BASE_DIR", raising=False)
    return tmp_path


def exported(name: str, out: str = "exported", **more: Any) -> None:
    asked = {"prompts": f"{name}.jsonl"} if "text" not in more else {}
    go("records export", out=out, model="planted", features=["units:mlp_hidden.2#1-12"], **asked, **more)


def matched(name: str) -> None:
    exported(name)
    go("match", out="run", left="exported", right="exported")


def inspected(name: str, out: str = "run", **more: Any) -> None:
    exported(name)
    go("inspect", out=out, model="planted", criterion="c", features=["records:exported/records"], **QUICK, **more)


def explained(name: str, out: str = "run") -> None:
    go("explain features", out=out, source=f"{name}-records", window=8)


def scored(name: str) -> None:
    explained(name, "told")
    go("explain score", out="run", run="told")


def graphed(name: str) -> None:
    exported(name)
    go("match", out="found", left="exported", right="exported")
    go("graph report", out="run", run=["found"])


def synced(name: str) -> None:
    asked = {"source": "dictionary:bundled#0-3", "model": "bundled:base", "data": [f"{name}.jsonl"]}
    go("explain features", out="told", **asked)
    shutil.copy("told/labels/labels.sqlite", "labels.sqlite")
    shutil.rmtree("told")
    go("explain sync", from_="labels.sqlite", cache="copied.sqlite")
    go("explain sync", out="again", from_="copied.sqlite", cache="again.sqlite")
    labels = "cache:again.sqlite#shipped/dictionary"
    go("explain features", out="run", **asked | {"data": ["open.jsonl"]}, with_="cache", explanations=labels)


def worked(name: str) -> None:
    """A workflow, whose steps lie inside its bundle."""
    step = {"name": "told", "verb": "explain.features", "with": {"source": f"{name}-records", "window": 8}}
    document = {"schema": "radiograph.workflow/1", "out": "run", "steps": [step]}
    Path("workflow.json").write_text(json.dumps(document))
    go("run", workflow="workflow.json")


VERBS: dict[str, Callable[[str], object]] = {
    "records export": lambda name: exported(name, "run"),
    "records export, texts": lambda name: exported(name, "run", text=[f"{name}.jsonl"]),
    "records export, lines": lambda name: exported(name, "run", to="jsonl"),
    "inspect": inspected,
    "match": matched,
    "intervene": lambda name: go("intervene", out="run", prompts=f"{name}.jsonl", **PUSHED, **UNITS),
    "steer contrast": lambda name: go(
        "steer contrast", out="run", prompts=f"{name}.jsonl", site=["resid_post.1"], **PUSHED
    ),
    "explain features": explained,
    "explain score": scored,
    "explain sync": synced,
    "graph report": graphed,
    "run": worked,
}


def taken_away(folder: Path) -> None:
    """Everything but the run: what it read, and what lies between."""
    for path in folder.iterdir():
        if path.name != "run":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize("verb", VERBS)
def test_a_private_prompt_stops_the_publication_of_what_a_verb_makes_of_it(here, verb):
    VERBS[verb]("secret")
    taken_away(here)
    stopped = go("publish", run="run", dry_run=True)
    assert stopped.exit_code is ExitCode.GATE_FAILED
    assert {leak.kind for leak in stopped.result.leaks} == {"private"}
    assert any(leak.file.endswith("manifest.json") for leak in stopped.result.leaks)


@pytest.mark.parametrize("verb", VERBS)
def test_without_a_mark_it_may_be_published(here, verb):
    VERBS[verb]("open")
    assert go("publish", run="run", dry_run=True).result.leaks == ()


def test_records_taken_out_of_their_run_keep_the_mark(here):
    exported("secret", text=["secret.jsonl"])
    shutil.copytree("exported/records", "moved")
    shutil.rmtree("exported")
    go("match", out="run", left="moved", right="moved")
    assert go("publish", run="run", dry_run=True).exit_code is ExitCode.GATE_FAILED


HARVESTS: dict[str, dict[str, Any]] = {
    "harvest": {"model": "bundled:base", "dictionary": "dictionary:bundled"},
    "decompose.harvest": {"decomposition": "decomposition:bundled", "examples": 2, "record_tokens": 20},
}


@pytest.mark.parametrize("name", ["secret", "open"])
@pytest.mark.parametrize("verb", HARVESTS)
def test_records_that_were_harvested_say_in_their_header_what_the_texts_said(here, verb, name):
    assert go(verb, out="made", data=[f"{name}.jsonl"], **HARVESTS[verb]).exit_code is ExitCode.PASS
    shutil.copytree("made/records", "moved")
    shutil.rmtree("made")
    Path(f"{name}.jsonl").unlink()
    assert open_records(Path("moved")).header.private is (name == "secret")
    assert (marked_input(Path("moved").resolve()) is not None) is (name == "secret")


def test_a_model_that_says_so_or_was_made_of_private_rows_makes_runs_private(here):
    config = json.loads(Path("planted/config.json").read_text())
    Path("planted/config.json").write_text(json.dumps({**config, "private": True}))
    exported("open", "run")
    leaks = go("publish", run="run", dry_run=True).result.leaks
    assert [leak.place for leak in leaks if leak.file == "manifest.json"] == ["input model planted"]
    explained("secret", "made")
    Path("made/model").mkdir()
    assert marked_model(Path("made/model").resolve()) == "manifest.json, input features"
    assert marked_model(Path("nothing")) is None


def test_marks_of_folders(tmp_path):
    (tmp_path / "data/in").mkdir(parents=True)
    (tmp_path / "manifest.json").write_text('{"inputs": [{"role": "data", "private": "line 1"}]}')
    pl.DataFrame({"text": ["a"], "private": ["no"]}).write_parquet(tmp_path / "data/in/a.parquet")
    assert marked_input(tmp_path / "data") is None, "a manifest without its seal is none of a run"
    pl.DataFrame({"text": ["a"], "private": ["yes"]}).write_parquet(tmp_path / "data/in/a.parquet")
    assert marked_input(tmp_path / "data") == "in/a.parquet, column private"
    (tmp_path / "manifest.sha256").write_text("")
    assert marked_input(tmp_path / "data") == "manifest.json, input data"


@pytest.mark.parametrize("word", ["private", "Private", "PRIVATE"])
def test_a_mark_is_found_wherever_it_stands(tmp_path, word):
    path = tmp_path / "a.jsonl"
    for before in (0, 1, 20_000):
        path.write_text('{"text": "x"}\n' * before + f'{{"text": "y", "{word}": true}}\n')
        assert marked(path) == f"line {before + 1}"
    path.write_text("")
    assert marked(path) is None
    path.write_text('{"text": "a private matter"}\n')
    assert marked(path) is None
