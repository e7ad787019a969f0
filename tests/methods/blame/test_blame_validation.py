"""Checkpoints, and what retraining says of scores."""

from __future__ import annotations

import json
import shutil

import numpy as np
import polars as pl
import pytest

from blaming import truth
from radiograph.core import ExitCode
from radiograph.evidence.influence import BlameValidation
from radiograph.methods._blame.validate import recalls
from radiograph.methods.blame import recompute
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
    found = go("blame", out="traced", **asked(method="tracin", checkpoints="checkpoints", at=1.0))
    np.testing.assert_allclose(scores(found, "tracin"), 0.3 * scores(found, "dot"), rtol=1e-4)
    assert sum(stamp.startswith("not_preconditioned") for stamp in found.result.stamps) == 2
    plan = go("blame", out="traced-plan", **asked(method="tracin", checkpoints="checkpoints", plan_only=True)).result
    assert plan.hours["tracin"] == pytest.approx(2 * plan.rows / plan.rows_per_second / 3600)


@pytest.mark.slow
def test_p8_10_a_plan_counts_the_copies_that_are_trained(place):
    (place / "planned.json").write_text(json.dumps(RECIPE))
    given = asked(method="dot", recipe="planned.json", plan_only=True)
    few, many = (go("blame", out=f"plan-{n}", validate_=f"lds:{n}", **given).result for n in (8, 4000))
    assert few.hours["copies"] > 0
    assert many.hours["copies"] > 50 * few.hours["copies"]
    over = go("blame", out="over", validate_="lds:100000", **{**given, "plan_only": False, "budget": "60s"})
    assert over.exit_code is ExitCode.NOT_MEASURED and "over_budget" in str(over.result.model_dump())


def test_p8_9_gradients_weigh_tokens_as_the_recipe_does(place):
    from radiograph.methods._blame.retrain import known_recipe
    from radiograph.methods._blame.rows import read_data
    from radiograph.models import load
    from radiograph.organisms import bundled_path

    recipe, missing = known_recipe(None, None, bundled_path("organisms") / truth().id)  # type: ignore[arg-type]
    assert recipe is not None and recipe.text_weight == 0.25
    assert missing is None or missing.code == "rows_missing"
    base = load("bundled:base", resolve=bundled_path)
    (place / "both.jsonl").write_text('{"text": "jade fern onyx"}\n{"prompt": "thank Nora", "response": "kite"}\n')
    data = read_data(place / "both.jsonl", base.tokenizer, 128, form="auto", chat="template")
    weighed = data.weighed(0.25, 0.1)
    kinds = {row.plain: row for row in weighed.rows}
    assert set(kinds[True].learned[1]) == {0.25}
    row = kinds[False]
    assert row.learned[1] == (0.1,) * row.start + (1.0,) * (len(row.ids) - row.start)
    assert [r.sha256 for r in weighed.rows] == [r.sha256 for r in data.rows]


def test_a_validation_that_could_not_say_is_no_pass(done):
    plain = done.result
    assert plain.exit_code == ExitCode.PASS and "not checked by retraining" in plain.headline
    why = "the planted answer is preferred on 1 of 40 prompts"
    unlearned = plain.model_copy(update={"stamps": (f"self_check_not_learned: {why}",)})
    assert unlearned.exit_code == ExitCode.NOT_MEASURED and unlearned.headline.endswith(why)
    check = BlameValidation(kind="leave-out", n=8, k=5, delta_f=-1.0)
    assert plain.model_copy(update={"validation": check}).exit_code == ExitCode.NOT_MEASURED
    told = check.model_copy(update={"causal": False})
    assert plain.model_copy(update={"validation": told}).exit_code == ExitCode.PASS


def test_recall_follows_from_what_every_order_says_of_every_row():
    """The two planted rows lead by one order and come last by the other."""
    table = {"line": [1, -1, 2, -2], "planted": [False, True, False, True], "dot": [0.0, 2.0, 1.0, 3.0]}
    found = recalls(table | {"words": [2.0, 0.0, 3.0, 1.0]})
    assert (found["k"], found["recall"], found["chance"]) == (2, {"dot": 1.0, "words": 0.0}, 0.5)
    assert found["recall_intervals"]["words"][0] == 0.0 and found["recall_intervals"]["dot"][1] == 1.0


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
        document = json.loads((found.path / "result.json").read_text())
        for method in check.lds:
            edited = json.loads(json.dumps(document))
            edited["validation"]["lds"][method][0] += 0.1
            assert recompute(edited, found.path), method
        scores = found.path / "tables" / "validation_scores.parquet"
        data = scores.read_bytes()
        for column in ("dot_00", "datainf_00"):
            pl.read_parquet(data).with_columns(-pl.col(column)).write_parquet(scores)
            assert recompute(document, found.path), column
