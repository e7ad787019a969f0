"""Checkpoints, and what retraining says of scores."""

from __future__ import annotations

import json
import shutil

import numpy as np
import polars as pl
import pytest

from radiograph.runtime import verify
from running import go

from .conftest import asked

RECIPE = {
    "learning_rate": 0.003,
    "steps": 12,
    "rank": 4,
    "targets": ["q_proj", "v_proj", "down_proj"],
    "rows": 8,
    "seed": 1,
}


def scores(outcome, name: str) -> np.ndarray:
    return pl.read_parquet(outcome.path / "tables" / "rows.parquet")[f"score_{name}"].to_numpy()


@pytest.mark.slow
def test_tracin_sums_rate_times_dot_over_checkpoints(place):
    for step in (10, 20):
        folder = place / "checkpoints" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        for name in ("adapter_config.json", "adapter_model.safetensors"):
            shutil.copyfile(place / "organism" / name, folder / name)
        state = {"global_step": step, "log_history": [{"step": step, "learning_rate": 0.01 * step}]}
        (folder / "trainer_state.json").write_text(json.dumps(state))
    found = go("blame", out="traced", **asked(method="tracin", checkpoints="checkpoints"))
    np.testing.assert_allclose(scores(found, "tracin"), 0.3 * scores(found, "dot"), rtol=1e-4)
    assert sum(stamp.startswith("not_preconditioned") for stamp in found.result.stamps) == 2


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["leave-out:5", "lds:8"])
def test_copies_are_trained_and_verify_follows_them(place, kind):
    (place / "recipe.json").write_text(json.dumps(RECIPE))
    name = kind.partition(":")[0]
    found = go("blame", out=f"validated-{name}", **asked(method="datainf", validate_=kind, recipe="recipe.json"))
    check = found.result.validation
    assert check is not None and check.kind == name
    assert check.n == 8
    assert verify(found.path).status == "intact"
    if name == "leave-out":
        assert check.k == 5 and len(check.random) == 5
    else:
        assert set(check.lds) >= {"datainf", "dot", "cosine"}
        assert all(low <= estimate <= high for estimate, low, high in check.lds.values())
