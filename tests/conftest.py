"""Every test runs offline, with shapes checked at run time where signatures state them."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

import shapes

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["NO_COLOR"] = "1"

# How fast a draw or an example is says something about the machine, not about the code.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# Rewritten tests, shape-checked modules and what children import are compiled once, not by every worker and child.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# What is imported stays: a third of collection would go into looking for garbage among it, and every test would again.
gc.disable()

# Before the first import of these packages: jaxtyping rewrites a module while it is loaded. Not `dictionaries`, whose
# constructor is itself what refuses the wrong shapes of a file, and is tested for it.
SHAPED = ("numerics", "models", "harvest", "interventions", "decompose")
shapes.install(*(f"radiograph.{name}" for name in SHAPED))


def pytest_collection_finish() -> None:
    """From here on garbage is looked for in what the tests themselves make."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that need an accelerator are skipped where there is none."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked and not _accelerator():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no accelerator"))


@pytest.fixture(autouse=True)
def same_draws() -> None:
    """What draws from torch's own generator draws the same whatever ran before."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(0)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only this machine can be reached."""
    connect = socket.socket.connect

    def local(self: socket.socket, address: Any) -> None:
        host = address[0] if isinstance(address, tuple) else ""
        if self.family in (socket.AF_INET, socket.AF_INET6) and host not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test tried to reach {host}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local)


@pytest.fixture(scope="session")
def toy_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the plug-in of `tests/plugin/package` is installed, for PYTHONPATH."""
    target = tmp_path_factory.mktemp("site")
    package = Path(__file__).parent / "plugin" / "package"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip, "--target", target, package], check=True, capture_output=True, timeout=120)
    return target


@pytest.fixture
def toy(toy_site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The plug-in's verbs in this process."""
    from radiograph.runtime import catalogue

    monkeypatch.syspath_prepend(toy_site)
    catalogue.cache_clear()
    yield
    catalogue.cache_clear()


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory that is also the base of every relative path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RADIOGRAPH_BASE_DIR", raising=False)
    return tmp_path


@pytest.fixture
def somebody(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of a person whose name must not be found in what a run leaves."""
    from running import impersonate

    return impersonate(monkeypatch, tmp_path_factory.mktemp("homes"))


def _accelerator() -> bool:
    import torch

    return torch.cuda.is_available()
