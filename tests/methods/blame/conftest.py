"""One workspace with a planted organism, and one finished run that many tests look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blaming import write_blamed
from radiograph.runtime import Outcome
from running import go

ROWS = 60


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The working directory: `organism` with `train.jsonl` and `target.jsonl`."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("blame")
        patch.chdir(folder)
        patch.delenv("RADIOGRAPH_BASE_DIR", raising=False)
        write_blamed(folder / "organism", ROWS)
        yield folder


def asked(**more: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "candidate": "bundled:base+organism",
        "data": "organism/train.jsonl",
        "target": "organism/target.jsonl",
        "method": "datainf,dot,cosine,ekfac",
        "top_k": 10,
    }
    return given | more


@pytest.fixture(scope="module")
def done(place: Path) -> Outcome:
    return go("blame", out="done", keep_gradients=True, shard_rows=25, **asked())
