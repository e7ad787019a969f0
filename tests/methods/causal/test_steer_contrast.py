"""`steer contrast` end to end: fitted, chosen, judged, and written only where it may be."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from moved import TARGETS, write_prompts
from radiograph.core import ExitCode, Refusal
from radiograph.runtime import verify
from radiograph.store.directions import open_directions, read_directions_header
from running import go

ASKED: dict[str, Any] = {
    "model": "bundled:base",
    "criterion": "the next token is a unit",
    "prompts": "prompts.jsonl",
    "targets": TARGETS,
    "site": ["resid_post.1", "resid_post.2"],
    "positions": "last",
    "dose": "-1,1",
    "rows": 24,
    "controls": 19,
    "neutral_texts": 4,
    "max_negative": 5,
    "max_kl": 5,
    "max_ppl": 50,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("steer")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("RADIOGRAPH_BASE_DIR", raising=False)
        write_prompts(folder / "prompts.jsonl")
        go("steer contrast", out="run", **ASKED)
        yield folder


def test_a_direction_that_is_that_of_length_is_seen_and_not_written(place):
    """Positives are one token longer than the others: any push as far does as much."""
    result = json.loads((place / "run" / "result.json").read_bytes())
    (own,) = result["effects"]["features"]
    assert own["grade"] == "effect" and "beyond_controls" in own["failing"] and result["written"] is None
    assert {row["family"] for row in own["controls"]} == {"random_direction", "covariance_matched", "shuffled_label"}
    assert not list((place / "run").glob("*.safetensors"))
    fitted = {one["site"]: one for one in result["fitted"]}
    assert len(fitted) == 2 and all(one["paired"] and one["auroc"] > 0.9 for one in fitted.values())
    assert all(one["cosine_length"] > 0.99 for one in fitted.values())
    chosen = next(one for one in fitted.values() if one["chosen"])
    assert chosen["bound"] == max(one["bound"] or 0 for one in fitted.values())
    assert verify(place / "run").exit_code is ExitCode.PASS


def test_sites_that_do_equally_little_are_chosen_alike_by_run_and_verify(place):
    """No dose does anything at either site: the first that was named stands, whatever its name."""
    from radiograph.methods.steer import contrast

    shutil.copytree(place / "run", place / "tied")
    path = place / "tied" / "tables" / "sites.parquet"
    pl.read_parquet(path).with_columns(pl.col("baseline").alias("intervened")).write_parquet(path)
    result = json.loads((place / "tied" / "result.json").read_bytes())
    for order in (1, -1):
        fitted = [one | {"bound": None} for one in result["fitted"]][::order]
        tied = result | {"fitted": [one | {"chosen": n == 0} for n, one in enumerate(fitted)]}
        assert not [
            text for text in contrast.recompute(tied, place / "tied") if "on discover" in text or "bound" in text
        ]
        other = result | {"fitted": [one | {"chosen": n == 1} for n, one in enumerate(fitted)]}
        assert any("on discover choose" in text for text in contrast.recompute(other, place / "tied"))


@pytest.mark.slow
def test_z_a_validated_direction_is_written_and_moves_held_out_prompts(place):
    asked = {"model": "bundled:base", "criterion": "world:next_unit", "outcome": "choice", "positions": "last"}
    asked |= {"controls": 19, "max_kl": 0.3, "max_ppl": 1.3}
    fit = {"site": ["resid_post.2"], "method": "logistic", "dose": "-1.2,-0.9,-0.6,-0.3,0.3,0.6"}
    outcome = go("steer contrast", out="units", **asked, **fit)
    (own,) = outcome.result.effects.features
    assert own.grade == "validated" and own.effect > 0.2 and outcome.result.written == "steering.safetensors"
    header, found = open_directions(place / "units" / "steering.safetensors")
    (vector,) = found.values()
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
    assert header.grade == "validated" and header.doses == (own.raw,)
    assert header.provenance["order_sha256"] == outcome.result.effects.order_sha256
    source = {"features": ["direction:units/steering.safetensors"], "dose": "-1.2,-0.6,0.6", "rows": 32}
    (again,) = go("intervene", out="again", **asked, **source, seed=1).result.features
    assert again.grade == "validated" and again.effect > 0.2
    assert verify(place / "units").exit_code is ExitCode.PASS


def test_what_is_said_of_a_fit_follows_from_its_rows(place):
    from radiograph.methods.steer import contrast

    result = json.loads((place / "run" / "result.json").read_bytes())
    forged = {"split_half": 0.99, "cosine_length": 0.0, "norm": 3.0, "auroc": 0.5}
    fitted = [one | (forged if n == 0 else {}) for n, one in enumerate(result["fitted"])]
    found = contrast.recompute(result | {"fitted": fitted}, place / "run")
    assert all(any(f"{name} is {value}" in text for text in found) for name, value in forged.items())


def test_y3_9_without_an_acceptable_dose_there_is_no_file(place):
    outcome = go("steer contrast", out="none", **{**ASKED, "max_kl": 0, "site": ["resid_post.2"], "rows": 12})
    assert outcome.exit_code is ExitCode.GATE_FAILED and outcome.result.written is None
    assert outcome.result.headline.startswith("none_acceptable") and not list((place / "none").glob("steering*"))


def test_an_unvalidated_one_says_so_in_name_and_header(place):
    asked = {**ASKED, "controls": 0, "site": ["resid_post.2"], "rows": 12, "allow_unvalidated": True}
    outcome = go("steer contrast", out="anyway", **asked)
    assert outcome.result.written == "steering.unvalidated.safetensors"
    assert verify(place / "anyway").exit_code is ExitCode.PASS
    header = read_directions_header(place / "anyway" / "steering.unvalidated.safetensors")
    assert header.grade != "validated" and "beyond_controls" in header.failing
    with pytest.raises(Refusal, match="another model") as raised:
        open_directions(place / "anyway" / "steering.unvalidated.safetensors", model_sha256="0" * 64)
    assert raised.value.exit_code is ExitCode.BAD_INPUT
    forged_bundles_are_found(place / "anyway")


def forged_bundles_are_found(run: Path) -> None:
    from radiograph.methods.steer import contrast
    from radiograph.store.directions import write_directions

    document = json.loads((run / "result.json").read_bytes())
    assert contrast.recompute(document, run) == []
    for change in ({"auroc": 0.99}, {"paired": False}, {"rows": [1, 1]}, {"auroc_interval": [0.98, 1.0]}):
        fitted = [one | change for one in document["fitted"]]
        assert contrast.recompute(document | {"fitted": fitted}, run), change
    effects = document["effects"]
    for change in (
        {"order": effects["order"] | {"limits": {"kl": 1e9, "ppl": 1e9, "negative": 1e9}}},
        {"order": effects["order"] | {"seed": 77}},
        {"required": "causal:effect"},
        {"planned": True},
    ):
        assert contrast.recompute(document | {"effects": effects | change}, run), change
    vector, (header, found) = run / "steering.unvalidated.safetensors", open_directions(run / document["written"])
    for field, value in (("doses", (50.0,)), ("failing", ()), ("provenance", header.provenance | {"effect": 9.9})):
        vector.unlink()
        write_directions(vector, header.model_copy(update={field: value}), found)
        assert any(field in text for text in contrast.recompute(document, run)), field
    vector.unlink()
    write_directions(vector, header, found)
    path = run / "tables" / "causal.parquet"
    pl.read_parquet(path).with_columns(pl.lit("validated").alias("grade")).write_parquet(path)
    (said,) = contrast.recompute(document, run)
    assert "causal.parquet" in said
    (run / "order.json").write_text(json.dumps(effects["order"] | {"seed": 77}))
    assert any("order.json" in text for text in contrast.recompute(document, run))
