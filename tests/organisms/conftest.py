"""One thread: the models here are so small that a second one only waits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    from radiograph.organisms._training import one_thread

    with one_thread():
        yield
