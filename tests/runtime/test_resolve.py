"""Command line > environment > file > default, and every value knows where it came from."""

from __future__ import annotations

from pathlib import Path

import pytest

from radiograph.core import FormatError, UserError
from radiograph.runtime import Settings, execute, find, resolve
from radiograph.store import Workspace

pytestmark = pytest.mark.usefixtures("toy", "workspace")


@pytest.fixture
def file(workspace) -> Path:
    path = workspace / "c.yaml"
    path.write_text("data: file.txt\nlimit: 1\nscale: 1.5\n")
    return path


def test_precedence_and_origins(file, monkeypatch):
    monkeypatch.setenv("RADIOGRAPH_TOY_MEAN_LIMIT", "2")
    monkeypatch.setenv("RADIOGRAPH_TOY_MEAN_DATA", "environment.txt")
    found = resolve(find("toy mean"), {"data": "typed.txt"}, file)
    assert (found.config.data, found.config.limit, found.config.scale, found.config.mode) == (
        "typed.txt",
        2,
        1.5,
        "plain",
    )
    assert found.origins == {
        "data": "command line",
        "limit": "environment",
        "scale": "file",
        "mode": "default",
        "tag": "default",
    }


@pytest.mark.parametrize("suffix", ["toml", "json"])
def test_every_format_says_the_same(workspace, file, suffix):
    other = workspace / f"c.{suffix}"
    other.write_text(
        'data = "file.txt"\nlimit = 1\nscale = 1.5'
        if suffix == "toml"
        else '{"data": "file.txt", "limit": 1, "scale": 1.5}'
    )
    verb = find("toy mean")
    assert resolve(verb, {}, other, environment=False) == resolve(verb, {}, file, environment=False)


def test_variables_in_a_file(workspace, monkeypatch):
    (workspace / "c.yaml").write_text("data: ${PLACE}/x.txt\ntag: ['${LABEL:-none}']\n")
    verb = find("toy mean")
    with pytest.raises(UserError, match="PLACE") as caught:
        resolve(verb, {}, workspace / "c.yaml")
    assert "data" in str(caught.value)
    monkeypatch.setenv("PLACE", "here")
    assert resolve(verb, {}, workspace / "c.yaml").config.model_dump(include={"data", "tag"}) == {
        "data": "here/x.txt",
        "tag": ("none",),
    }


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "data"),
        ({"data": "x", "limt": 1}, "did you mean limit"),
        ({"data": "x", "limit": "much"}, "limit"),
        ({"data": "x", "limit": float("nan")}, "limit"),
        ({"data": "x", "mode": "loud"}, "plain"),
        ({"data": "x", "scale": []}, "scale"),
    ],
)
def test_mistakes_name_the_option(given, said):
    with pytest.raises(UserError) as caught:
        resolve(find("toy mean"), given)
    assert said in str(caught.value)
    assert int(caught.value.exit_code) == 3


def test_all_mistakes_are_named_at_once():
    with pytest.raises(UserError) as caught:
        resolve(find("toy mean"), {"data": 1, "limit": "x", "scale": "y", "mode": "z"})
    assert all(name in str(caught.value) for name in ("data", "limit", "scale", "mode"))


def test_a_file_that_is_none_is_a_format_error(workspace):
    for name, text in (("a.yaml", "- 1"), ("a.json", "{"), ("a.toml", "x"), ("b.yaml", "\x00")):
        (workspace / name).write_text(text)
        with pytest.raises(FormatError):
            resolve(find("toy mean"), {}, workspace / name)


def test_a_typed_path_may_lie_anywhere_one_from_a_file_may_not(workspace, tmp_path_factory):
    outside = tmp_path_factory.mktemp("elsewhere") / "x.txt"
    outside.write_text("1\n2\n")
    verb, settings = find("toy mean"), Settings(workspace=Workspace.current())
    assert execute(verb, resolve(verb, {"data": str(outside)}), settings).exit_code == 0
    (workspace / "c.json").write_text(f'{{"data": "{outside}"}}')
    with pytest.raises(UserError) as caught:
        execute(verb, resolve(verb, {}, workspace / "c.json"), settings)
    assert caught.value.code == "path_outside_workspace"
