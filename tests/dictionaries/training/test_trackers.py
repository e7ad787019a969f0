"""Trackers mirror the log on disk; what goes wrong with them is a warning."""

import socket
import sys
from importlib.util import find_spec
from types import ModuleType

import pytest

from radiograph.core import MissingExtra, UserError
from radiograph.dictionaries.training import tracking
from radiograph.dictionaries.training.trackers import names

NUMBERS = [{"loss": 0.5, "l0": 16.0}, {"loss": 0.25, "l0": 16.0}]


@pytest.fixture
def offline(monkeypatch):
    """Whatever leaves this machine fails the test."""
    real = socket.socket.connect

    def connect(self, address):
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"connects to {address}")
        return real(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)


def log(name, folder, warn):
    with tracking(name, folder, "run", {"k": 16}, warn) as track:
        for step, numbers in enumerate(NUMBERS, start=1):
            track(step, numbers)


@pytest.mark.filterwarnings("ignore")
def test_tensorboard_holds_every_number(tmp_path, offline):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    said = []
    log("tensorboard", tmp_path, said.append)
    events = EventAccumulator(str(tmp_path / "run")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(1, 0.5), (2, 0.25)]
    assert not said


@pytest.mark.filterwarnings("ignore")
def test_wandb_stays_on_disk(tmp_path, offline):
    pytest.importorskip("wandb")
    said = []
    log("wandb", tmp_path, said.append)
    assert not said
    assert list((tmp_path / "wandb").glob("offline-run-*/run-*.wandb"))


@pytest.mark.filterwarnings("ignore")
def test_trackio_stays_on_disk(tmp_path, offline, monkeypatch, capsys):
    if find_spec("trackio") is None:
        pytest.skip("trackio is not installed")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # read once, when it is imported
    said = []
    log("trackio", tmp_path, said.append)
    assert not said
    assert not capsys.readouterr().out, "stdout is for the result"
    assert [path for path in (tmp_path / "trackio").rglob("*") if path.is_file()]


def test_an_unknown_tracker_is_named():
    assert names() == ["tensorboard", "trackio", "wandb"]
    with pytest.raises(UserError, match="unknown tracker") as error, tracking("wandbb", None, "", {}, print):
        pass
    assert "did you mean wandb?" in str(error.value)


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "trackio"])
def test_a_tracker_that_is_not_installed_says_how_to(name, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtra) as error, tracking(name, tmp_path, "run", {}, print):
        pass
    assert f"radiograph[{name}]" in str(error.value)


@pytest.mark.parametrize("place", ["init", "log", "finish"])
def test_a_tracker_that_fails_is_one_warning(place, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise RuntimeError("no space left")

    class Run:
        log = fail if place == "log" else lambda *args, **kwargs: None
        finish = fail if place == "finish" else lambda *args, **kwargs: None

    fake = ModuleType("wandb")
    fake.Settings = dict
    fake.init = fail if place == "init" else lambda **kwargs: Run()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    said = []
    log("wandb", tmp_path, said.append)
    (text,) = said
    assert "no space left" in text and text.startswith("wandb")
