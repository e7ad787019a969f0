"""A run's context, and a small model of the small world."""

from __future__ import annotations

import pytest

from radiograph.core import Silent
from radiograph.runtime import RunContext
from radiograph.store import Workspace


@pytest.fixture
def context(workspace):
    return make_context(workspace)


def make_context(folder, *, offline=True, confined=False):
    return RunContext(
        seed=0,
        device="cpu",
        progress=Silent(),
        workspace=Workspace(folder.resolve(), confined),
        output=None,  # type: ignore[arg-type]
        transcript=None,
        caller="python",
        run_step=None,  # type: ignore[arg-type]
        offline=offline,
    )


@pytest.fixture(scope="session")
def base():
    """The bundled base, loaded once."""
    from radiograph import models, organisms

    return models.load("bundled:base", resolve=organisms.bundled_path)
