"""Finished audits that several tests read, none of which writes into one; and figures that are built, not drawn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from matplotlib.backends.backend_svg import FigureCanvasSVG

from auditing import few_prompts, small_suite, standing

DRAW = FigureCanvasSVG.print_svg


@pytest.fixture(scope="module", autouse=True)
def undrawn() -> Iterator[None]:
    """Every figure is built in full and left blank: drawing takes longer than most of what is tested here.

    tests/contract draws the figures of every verb, tests/reports looks at them.
    """

    def blank(_: FigureCanvasSVG, file: Any, **__: Any) -> None:
        file.write('<svg xmlns="http://www.w3.org/2000/svg">\n</svg>\n')

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FigureCanvasSVG, "print_svg", blank)
        yield


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a test that looks at figures, or compares them with those that another process drew."""
    monkeypatch.setattr(FigureCanvasSVG, "print_svg", DRAW)


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


@pytest.fixture
def few(workspace: Path) -> str:
    """A suite too small for a capability panel, in the working directory."""
    return str(few_prompts(workspace / "few.yaml"))
