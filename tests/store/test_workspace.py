"""A confined workspace refuses every way out and never tells what lies there."""

from __future__ import annotations

from pathlib import Path

import pytest

from radiograph.core import UserError
from radiograph.store import Workspace


@pytest.fixture
def place(tmp_path):
    base = tmp_path / "base"
    base.mkdir()
    (base / "in.txt").write_text("in")
    (base / "folder").mkdir()
    (tmp_path / "out.txt").write_text("out")
    (base / "link.txt").symlink_to(tmp_path / "out.txt")
    (base / "up").symlink_to(tmp_path)
    return base


WAYS_OUT = ["../out.txt", "folder/../../out.txt", "link.txt", "up/out.txt", "/etc/passwd", "up", "..", "in.txt\x00", "../none.txt", "/no/such/file"]  # fmt: skip  # noqa: E501


@pytest.mark.parametrize("text", WAYS_OUT)
def test_every_way_out_gives_the_same_refusal(place, text):
    workspace = Workspace(place.resolve(), confined=True)
    for attempt in (workspace.resolve, workspace.open, workspace.confine):
        with pytest.raises(UserError) as caught:
            attempt(text)
        assert caught.value.code == "path_outside_workspace"
        assert "exist" not in str(caught.value)


def test_what_lies_inside_is_found(place):
    workspace = Workspace(place.resolve(), confined=True)
    for text in ("in.txt", "./folder/../in.txt", str(place / "in.txt")):
        with workspace.open(text) as handle:
            assert handle.read() == b"in"
    with pytest.raises(UserError) as caught:
        workspace.resolve("inn.txt")
    assert caught.value.code == "not_found"
    assert "in.txt" in (caught.value.fix or "")


def test_an_open_run_elsewhere_is_inside(place, tmp_path):
    workspace = Workspace(place.resolve(), confined=True, open_run=tmp_path.resolve())
    assert workspace.resolve("../out.txt") == (tmp_path / "out.txt").resolve()


def test_a_link_swapped_after_the_first_look_is_caught(place, tmp_path, monkeypatch):
    workspace = Workspace(place.resolve(), confined=True)
    target = place / "in.txt"
    original = Workspace.resolve

    def swapped(self, text, **options):
        real = original(self, text, **options)
        target.unlink()
        target.symlink_to(tmp_path / "out.txt")
        return real

    monkeypatch.setattr(Workspace, "resolve", swapped)
    with pytest.raises(UserError) as caught:
        workspace.open("in.txt")
    assert caught.value.code == "path_outside_workspace"


def test_typed_paths_may_lie_anywhere(place, tmp_path):
    assert Workspace(place).resolve("../out.txt") == (tmp_path / "out.txt").resolve()


def test_labels_name_no_person_and_no_host(tmp_path, somebody):
    base = tmp_path / "base"
    (base / "x").mkdir(parents=True)
    workspace = Workspace(base)
    assert workspace.label(base / "x") == "x"
    assert workspace.label(somebody / "secret" / "x.txt") == "external:x.txt"
    assert workspace.label(base / "run.partial" / "steps" / "1" / "t") == "run:steps/1/t"
    assert not Path(workspace.label(tmp_path)).is_absolute()


def test_references_become_portable_part_by_part(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "adapter").mkdir()
    workspace = Workspace(tmp_path)
    assert workspace.portable(f"{tmp_path}/model+{tmp_path}/adapter") == "model+adapter"
    for name in ("mo+del", "ad+apter"):
        (tmp_path / name).mkdir()
    assert workspace.portable(f"{tmp_path}/mo+del") == "mo+del"
    assert workspace.portable(f"{tmp_path}/mo+del+{tmp_path}/ad+apter") == "mo+del+ad+apter"
    assert workspace.portable(f"bundled:base+{tmp_path}/ad+apter") == "bundled:base+ad+apter"
    for reference in ("bundled:base", "org/name", "bundled:base+adapter"):
        assert workspace.portable(reference) == reference


def test_the_base_comes_from_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("RADIOGRAPH_BASE_DIR", str(tmp_path))
    assert Workspace.current().base == tmp_path.resolve()
    monkeypatch.delenv("RADIOGRAPH_BASE_DIR")
    monkeypatch.chdir(tmp_path)
    assert Workspace.current() == Workspace(tmp_path.resolve())
