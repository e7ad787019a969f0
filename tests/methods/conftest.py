"""Finished audits that several tests read; none of them writes into one."""

from __future__ import annotations

from pathlib import Path

import pytest

from auditing import small_suite, standing


@pytest.fixture(scope="session")
def audits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("audits")


@pytest.fixture(scope="session")
def same(audits: Path) -> Path:
    """The bundled base against itself."""
    return standing("same", audits)


@pytest.fixture(scope="session")
def moved(audits: Path) -> Path:
    """The bundled base against a copy with noise on its MLPs."""
    return standing("noisy", audits)


@pytest.fixture
def suite(workspace: Path) -> str:
    """A small suite in the working directory."""
    return str(small_suite(workspace / "suite.yaml"))
