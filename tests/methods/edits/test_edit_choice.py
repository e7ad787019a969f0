"""Which decomposition is meant where none is named, and models whose folders have a plus in their names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from blaming import write_blamed
from decompose.planted import base, saved, tokens_of
from radiograph.core import UserError
from radiograph.organisms import bundled_path
from running import go

KEEP = "world:mixture#20"
ASKED: dict[str, Any] = {"component": ["down.1:0"], "data": [KEEP], "draws": 0}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A copy of the base with other bytes, so that the bundled decomposition is of another model; its own beside."""
    home = tmp_path_factory.mktemp("choice")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        yield home


def broken(home, name, text):
    folder = home / "runs" / name / "decomposition"
    folder.mkdir(parents=True)
    if text is not None:
        (folder / "decomposition.json").write_text(text)
    return folder


@pytest.fixture
def runs(home):
    """Four folders among the runs that cannot be read, of which one says that it is of this model."""
    shutil.rmtree(home / "runs", ignore_errors=True)
    broken(home, "a-cut", '{"schema": "radiograph.decomp')
    broken(home, "b-foreign", json.dumps({"components": 3}))
    broken(home, "c-empty", None)
    shutil.copytree(bundled_path("decomposition"), home / "runs" / "d-tensors" / "decomposition")
    weights = home / "runs" / "d-tensors" / "decomposition" / "components.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    shutil.copytree(bundled_path("decomposition"), home / "runs" / "e.partial" / "decomposition")
    return home / "runs"


def test_what_cannot_be_read_is_listed_and_passed_over(runs):
    made = go("edit.apply", model="bundled:base", **ASKED).result
    said = [note for note in made.notes if "unreadable" in note]
    assert [note.split("runs/")[1].split("/")[0] for note in said] == ["a-cut", "b-foreign", "c-empty", "d-tensors"]
    assert "not JSON" in said[0]
    assert "hash" in said[3]
    assert any(
        "a-cut" in note for note in go("edit.search", model="bundled:base", writes=" kite", keep=[KEEP]).result.notes
    )


def test_where_none_is_left_the_command_fails_with_places_and_reasons(runs, home):
    other = Path(shutil.copytree(bundled_path("base"), home / "other", dirs_exist_ok=True))
    document = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(document | {"rms_norm_eps": 2e-5}))
    from safetensors.torch import load_file, save_file

    tensors = load_file(other / "model.safetensors")
    first = next(iter(tensors))
    save_file(tensors | {first: tensors[first] + 1e-3}, other / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="no decomposition of this model") as raised:
        go("edit.apply", model="other", **ASKED, out="none")
    assert raised.value.code == "no_decomposition"
    assert "runs/a-cut/decomposition: not JSON" in str(raised.value.got)
    assert not (home / "none").exists()


def test_two_that_fit_are_named_and_nothing_is_chosen(runs):
    shutil.copytree(bundled_path("decomposition"), runs / "f-whole" / "decomposition")
    with pytest.raises(UserError, match="2 decompositions") as raised:
        go("edit.apply", model="bundled:base", **ASKED)
    assert raised.value.code == "ambiguous_decomposition"
    assert "runs/f-whole, decomposition:bundled" in str(raised.value.expected)


def test_folders_with_a_plus_in_their_names_are_edited_and_what_is_made_of_them_is_undone(home):
    if not (home / "my+model").exists():
        shutil.copytree(bundled_path("base"), home / "my+model")
        write_blamed(home / "my+adapter")
        saved(base(), tokens_of(base(), ["the", "to", "is"]), home / "own+parts")
    made = go("edit.apply", model="my+model+my+adapter", component=["down.1:0"], data=[KEEP], draws=0, out="a+b")
    assert (made.result.model, made.result.base) == ("my+model+my+adapter", "my+model")
    assert made.result.kind == "pieces"
    more: dict[str, Any] = {
        "model": "my+model+a+b/adapter",
        "decomposition": "own+parts",
        "bake": "baked+copy",
        "out": "c+d",
    }
    second = go("edit.apply", **(ASKED | more)).result
    assert second.before == made.result.after
    assert go("edit.undo", run="c+d", out="u+1").result.identical
    assert go("edit.undo", run="a+b", out="u+2").result.identical
