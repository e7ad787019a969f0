"""`intervene` end to end: a planted cause among correlates, demands, bad input, resuming, shards."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from moved import TARGETS, plant, write_prompts
from radiograph.core import ExitCode, Refusal, UserError
from radiograph.runtime import verify
from radiograph.store.interventions import read_interventions
from running import contents, go, perform

UNITS = "units:mlp_hidden.2#5,9"
ASKED: dict[str, Any] = {
    "model": "planted",
    "features": [UNITS],
    "criterion": "the next token is a unit",
    "prompts": "prompts.jsonl",
    "targets": TARGETS,
    "positions": "last",
    "max_negative": 5,
    "dose": "-2,-1,1,2",
    "rows": 24,
    "neutral_texts": 6,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A workspace with a planted model and one finished run."""
    folder = tmp_path_factory.mktemp("intervene")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("RADIOGRAPH_BASE_DIR", raising=False)
        plant(folder / "planted")
        write_prompts(folder / "prompts.jsonl")
        go("intervene", out="run", **ASKED)
        yield folder


@pytest.fixture
def result(place: Path) -> dict[str, Any]:
    return json.loads((place / "run" / "result.json").read_bytes())


def test_x5_5_the_planted_cause_is_validated_and_the_correlate_does_nothing(place, result):
    cause, decoy = result["features"]
    assert cause["grade"] == "validated" and not cause["failing"] and cause["effect"] > 0.01
    assert decoy["grade"] == "no_effect" and decoy["effect"] == 0.0 and decoy["acceptable"] is False
    assert {row["family"] for row in cause["controls"]} == {
        "random_direction",
        "covariance_matched",
        "norm_matched",
        "frequency_matched",
    }
    assert all(row["n"] == 20 and row["p"] <= 0.05 for row in cause["controls"])
    assert verify(place / "run").exit_code is ExitCode.PASS


def test_y3_8_a_promoting_feature_promotes_at_either_sign(result):
    cause = result["features"][0]
    effects = {row["dose"]: row for row in cause["doses"] if row["half"] == "confirm"}
    assert effects[2.0]["effect"] > 0 and effects[-2.0]["effect"] > 0
    assert effects[2.0]["change"] > 0 > effects[-2.0]["change"]


def test_y3_10_the_placebo_is_exactly_nothing(place):
    rows = read_interventions(place / "run" / "tables" / "interventions.parquet").table
    placebo = rows.filter(pl.col("control") == "placebo")
    assert len(placebo) == 48 and (placebo["baseline"] == placebo["intervened"]).all()
    decoy = rows.filter((pl.col("feature_id") == "mlp_hidden.2[9]") & pl.col("control").is_null())
    assert ((decoy["baseline"] - decoy["intervened"]).abs() < 1e-6).all()


def test_y3_10_a_leaking_splice_is_refused(place, monkeypatch):
    from radiograph.interventions.features import _write

    added = _write._added

    def leaking(*given: Any) -> Any:
        places, values = added(*given)
        return places, values + 1e-3

    monkeypatch.setattr(_write, "_added", leaking)
    asked = {**ASKED, "controls": 0, "features": ["units:mlp_hidden.1#3"], "rows": 12, "neutral_texts": 2}
    outcome = go("intervene", out="leak", **asked)
    assert "placebo_leak" in outcome.result.model_dump_json() and outcome.exit_code is ExitCode.NOT_MEASURED


def test_candidates_come_with_their_association_and_their_model(place, tmp_path):
    from radiograph.evidence.interventions import Effects
    from radiograph.methods._intervene.conclude import conclude

    run = place / "run"
    order = Effects.read(json.loads((run / "result.json").read_bytes())).order
    signed = [
        one.model_copy(update={"association": sign}) for one, sign in zip(order.features, (-3.0, None), strict=True)
    ]
    result, _ = conclude(run / "tables", order.model_copy(update={"features": tuple(signed)}))
    assert [one.contradicted for one in result.features] == [True, None]


def test_rows_say_what_was_done(place, result):
    rows = read_interventions(place / "run" / "tables" / "interventions.parquet").table
    order = json.loads((place / "run" / "order.json").read_bytes())
    assert result["order"] == order and order["prompts"]["confirm.positive"] == 24
    assert set(rows["split"]) == {"discover", "confirm"} and set(rows["model_sha256"]) == {order["model_sha256"]}
    effects = rows.filter(pl.col("control").is_null())
    assert len(effects) == 2 * 4 * 96 and effects["kl"].null_count() == 0
    controls = rows.filter(pl.col("control").is_in(["norm_matched", "random_direction"]))
    assert set(controls["control_of"]) == {"mlp_hidden.2[5]", "mlp_hidden.2[9]"}
    # Every row passed once, but for rows on which a push of nothing has nothing to do.
    forwards = len(effects) + len(rows.filter(pl.col("control").is_not_null())) + 96 + 48
    assert order["forwards"] == forwards + 6 * 5 * 2


def test_a_changed_row_changes_the_verdict(place, tmp_path):
    from radiograph.methods import intervene

    shutil.copytree(place / "run", tmp_path / "run")
    path = tmp_path / "run" / "tables" / "interventions.parquet"
    table = pl.read_parquet(path)
    table.with_columns(pl.when(pl.col("split") == "confirm").then(0.0).otherwise("intervened").alias("intervened")
                       ).write_parquet(path)  # fmt: skip
    document = json.loads((tmp_path / "run" / "result.json").read_bytes())
    found = intervene.recompute(document, tmp_path / "run")
    assert found and "mlp_hidden.2[5]" in found[0]


@pytest.mark.parametrize(("verb", "dose"), [("ablate", "1"), ("amplify", "0,3"), ("clamp", "0,4"), ("patch", "1")])
def test_y3_8_every_verb_tells_its_push(place, verb, dose):
    out = f"run-{verb}"
    asked = {**ASKED, "features": ["units:mlp_hidden.2#5"], "rows": 12, "controls": 0, "neutral_texts": 2}
    outcome = perform("intervene", {**asked, "verb": verb, "dose": dose, "unit": "raw"}, out=out)
    (own,) = outcome.result.features
    rows = read_interventions(place / out / "tables" / "interventions.parquet").table
    effects = rows.filter(pl.col("control").is_null())
    assert set(effects["verb"]) == {verb}
    signs = {"ablate": {-1}, "amplify": {-1, 1}}
    if verb in signs:  # whatever the sign of the code that is taken away or made larger
        assert set(effects["push"]) == signs[verb]
    else:  # row by row, up or down from its own value: the unit promotes the targets
        directed = effects["push"] * (effects["intervened"] - effects["baseline"])
        assert directed.filter(effects["kind"] == "positive").mean() > 0
    assert "no_controls" in own.codes
    assert outcome.exit_code is ExitCode.PASS and own.kl is not None and own.ppl is not None


def test_y3_9_no_acceptable_dose_is_an_outcome(place):
    asked = {**ASKED, "max_kl": 0.0, "controls": 0, "features": ["units:mlp_hidden.2#5"], "rows": 12}
    outcome = go("intervene", out="none", **{**asked, "neutral_texts": 3})
    assert outcome.exit_code is ExitCode.GATE_FAILED and outcome.result.headline.startswith("none_acceptable")
    (own,) = outcome.result.features
    assert all("kl" in row.reasons for row in own.doses if row.half == "discover")
    page = (place / "none" / "report.md").read_text()
    assert "KL above its limit" in page and "no dose moves the outcome" in page


def test_forwards_count_every_row_that_is_read(place):
    """A continuation of three tokens needs a row of its own beside the prompt's."""
    asked = {**ASKED, "dry_run": True, "rows": 12, "neutral_texts": 2}
    (one, long) = (go("intervene", out=f"rows-{n}", **asked | {"targets": t}).result.order.forwards for n, t in
                   enumerate((" metres", " metres metres")))  # fmt: skip
    neutral = 2 * 2 * 5
    assert long - neutral == 2 * (one - neutral)


def test_a_dry_run_counts_and_runs_nothing(place):
    outcome = go("intervene", out="dry", **{**ASKED, "dry_run": True})
    assert outcome.exit_code is ExitCode.PASS and "nothing was run" in outcome.result.headline
    assert not (place / "dry" / "tables").exists() and not (place / "dry" / "sweeps").exists()
    held = json.loads((place / "run" / "order.json").read_bytes())
    assert json.loads((place / "dry" / "order.json").read_bytes()) == held


@pytest.mark.slow
def test_z_shards_merge_to_the_bytes_of_one_run(place):
    for number in (1, 2):
        # A worker has the order and the files that it names, and repeats no option.
        made = go("intervene", out=f"shard-{number}", order="run/order.json", shard=f"{number}/2")
        assert made.exit_code is ExitCode.PASS and verify(made.path).exit_code is ExitCode.PASS
    with pytest.raises(UserError, match="in none of the shards"):
        go("intervene", out="half", merge=["shard-1"])
    shutil.copytree(place / "shard-2", place / "edited")
    held = place / "edited" / "tables" / "interventions.parquet"
    pl.read_parquet(held).with_columns(pl.col("intervened") + 0.5 * pl.col("push")).write_parquet(held)
    with pytest.raises(UserError, match="edited is changed, so it is not merged"):
        go("intervene", out="forged", merge=["shard-1", "edited"])
    shutil.copytree(place / "shard-2", place / "killed.partial")
    with pytest.raises(UserError, match=r"killed\.partial is incomplete"):
        go("intervene", out="forged", merge=["shard-1", "killed.partial"])
    go("intervene", out="merged", merge=["shard-2", "shard-1", "shard-1"])
    spread = go("intervene", out="spread", **ASKED, workers="ray:2")
    assert len(list((place / "spread" / "steps").iterdir())) == 2 and spread.exit_code is ExitCode.PASS
    assert verify(place / "spread").exit_code is ExitCode.PASS
    one, other, third = (contents(place / name) for name in ("run", "merged", "spread"))
    same = [name for name in one if name.startswith("tables/") or name in ("result.json", "order.json")]
    assert len(same) == 7 and all(one[name] == other[name] == third[name] for name in same)
    with pytest.raises(UserError, match="another prompts"):
        go("intervene", out="other", order="run/order.json", rows=12)
    elsewhere = json.loads((place / "run" / "order.json").read_bytes())
    elsewhere["options"]["prompts"] = "../prompts.jsonl"
    (place / "elsewhere.json").write_text(json.dumps(elsewhere))
    with pytest.raises(UserError, match="outside the workspace"):
        go("intervene", out="other", order="elsewhere.json")


def test_what_is_too_long_loses_its_beginning_and_is_counted(place, result):
    from dataclasses import replace
    from types import SimpleNamespace

    from radiograph.evidence.interventions import Effects
    from radiograph.methods._intervene.conclude import conclude
    from radiograph.methods._intervene.prompts import Prompt, _shortened

    model: Any = SimpleNamespace(context_length=10, tokenizer=lambda text, **_: {"input_ids": [*text]})
    one = Prompt("p", "g", "discover", "positive", "t", tuple(range(12)), (0, 12), ("abc",), ())
    found = _shortened(model, one)
    assert (found.ids, found.cut, found.span) == ((0, 6, 7, 8, 9, 10, 11), 5, (0, 7))
    assert _shortened(model, replace(one, span=(8, 10))).span == (3, 5)
    assert _shortened(model, replace(one, ids=one.ids[:7])).cut == 0
    with pytest.raises(UserError, match="labelled span would be cut"):
        _shortened(model, replace(one, span=(5, 7)))
    order = Effects.read(result).order
    said, _ = conclude(place / "run" / "tables", order.model_copy(update={"cut": 3}))
    assert "3 prompts do not fit" in said.notes[0] and not result["notes"]


def test_z_a_group_is_one_feature(place):
    asked = {**ASKED, "features": [UNITS], "group": 2, "controls": 2, "rows": 12, "neutral_texts": 2}
    (own,) = go("intervene", out="group", **asked).result.features
    assert own.feature == "mlp_hidden.2[5]+mlp_hidden.2[9]"
    assert {row.family for row in own.controls} == {"random_direction", "covariance_matched"}
    patched = perform("intervene", {**asked, "verb": "patch", "controls": 0}, out="group-patch").result
    assert patched.features[0].effect is not None and patched.features[0].kl is not None


def test_z_a_group_is_as_long_as_its_sum_and_what_is_tested_is_no_control():
    from types import SimpleNamespace

    from radiograph.interventions.features import Naturals
    from radiograph.methods._intervene.tested import Opened, Tested, excluded

    ones, codecs = np.ones(8), [SimpleNamespace(hash=name) for name in ("a", "a", "b")]
    naturals = Naturals(10, ones.astype(int), ones, ones, ones, 10.0, np.eye(4))
    every = [Tested(str(n), codec, None, (n, n + 1), np.eye(4)[:2], np.eye(4).take) for n, codec in enumerate(codecs)]
    raw = every[0].natural(naturals).raw(0.1, "norm", "g")
    assert np.linalg.norm(raw * every[0].directions.sum(axis=0)) / 10 == pytest.approx(0.1)
    unlike = Naturals(10, ones.astype(int), ones, np.arange(8.0), np.arange(8.0) ** 2, 10.0, np.eye(4))
    assert (every[1].natural(unlike).sd, every[1].natural(unlike).largest) == (1.5, 2.5), "the means of its features"
    assert excluded(every, every[0]) == [0, 1, 1, 2], "another opening of the same dictionary too"
    part = SimpleNamespace(numbers=np.arange(3), address=lambda n: f"f{n}", codec=codecs[2])
    assert Opened((part,), ()).barred(["f2", "elsewhere"]) == {"b": [2]}


def test_another_feature_is_an_outcome(place):
    asked = {**ASKED, "features": ["units:mlp_hidden.1#3"], "controls": 0, "rows": 12, "neutral_texts": 2}
    outcome = go("intervene", out="other-feature", **{**asked, "outcome": "feature:units:mlp_hidden.2#5"})
    assert outcome.result.order.outcome == "feature:mlp_hidden.2[5]" and outcome.result.order.outcome_unit == "code"


def test_a_probe_is_an_outcome_for_its_own_model(place):
    from radiograph import models, organisms
    from radiograph.models import pad
    from radiograph.probing import Probe, read
    from radiograph.store.opened import Opened
    from radiograph.store.probes import read_probe

    shutil.copy(organisms.bundled_path("base").parent / "probes" / "base" / "truth.safetensors", place / "truth.st")
    asked = {**ASKED, "features": ["units:mlp_hidden.0#3"], "controls": 0, "rows": 12, "neutral_texts": 2}
    asked |= {"outcome": "probe:truth.st", "targets": None, "dose": "-2,2"}
    asked = {name: value for name, value in asked.items() if value is not None}
    outcome = go("intervene", out="other-probe", **asked)
    assert "another_model" in outcome.result.model_dump_json() and outcome.exit_code is ExitCode.NOT_MEASURED
    outcome = go("intervene", out="probed", **asked | {"model": "bundled:base"})
    assert outcome.result.order.outcome_unit == "score" and verify(place / "probed").exit_code is ExitCode.PASS
    with Opened.at(place / "truth.st") as file:
        probe = Probe.of(read_probe(file))
    model = models.load("bundled:base", resolve=organisms.bundled_path)
    (site,) = model.sites(probe.site)
    row = read_interventions(place / "probed" / "tables" / "interventions.parquet").table.row(0, named=True)
    lines = (place / "prompts.jsonl").read_text().splitlines()
    text = next(r["text"] for r in map(json.loads, lines) if r["prompt_id"] == row["prompt_id"])
    rows = models.capture(model, pad([models.tokenize(model.tokenizer, text).ids]), [site])[site][0, 1:].float().numpy()
    assert row["baseline"] == pytest.approx(read(probe, [(rows, np.zeros(len(rows), np.int64))]).score.max(), abs=1e-4)


@pytest.mark.parametrize(
    ("target", "text", "held"),
    [
        (" m", "it is 5 m long", True),
        (" m", "some more", False),
        ("Metres", "five metres.", True),
        (" 5", "15 or 52", False),
        (" %", "5% of it", True),
        ("été", "l'été dernier", True),
        ("米", "五米长", True),
    ],
)
def test_a_target_is_said_as_a_word_and_not_inside_another(target, text, held):
    from radiograph.methods._intervene.outcomes import said_in

    assert bool(said_in(target).search(text)) is held
    with pytest.raises(UserError, match="said by every text"):
        said_in(" ")


def test_the_first_token_decides_no_code(monkeypatch):
    from types import SimpleNamespace

    from radiograph.interventions import features
    from radiograph.methods._intervene.outcomes import Activation

    given: Any = SimpleNamespace(codec=SimpleNamespace(hash="h"), address=str, pool="max")
    prompts: Any = [SimpleNamespace(ids=(0, 1, 2)), SimpleNamespace(ids=(0,))]
    codes = [np.array([[99.0], [1.0], [2.0]], np.float32), np.array([[99.0]], np.float32)]
    monkeypatch.setattr(features, "codes_on", lambda *_: codes)
    assert Activation(SimpleNamespace(), prompts, given, 0).measure([0, 1]) == [2.0, 99.0]


def test_what_is_said_next_is_an_outcome_and_may_degenerate(place):
    asked = {**ASKED, "features": ["units:mlp_hidden.2#5"], "controls": 0, "rows": 12, "neutral_texts": 2}
    asked |= {"dose": "-8,8", "max_kl": 9, "max_ppl": 99, "new_tokens": 2, "continue_": 4, "guard": ["guard.json"]}
    checks = [("the river is", "contains_any", ["e"]), ("sixteen", "equals", "zebra zebra"), ("two", "max_words", 99)]
    suite = [
        {"id": f"q{n}", "prompt": text, "expect": [{"kind": kind, "value": value}]}
        for n, (text, kind, value) in enumerate(checks)
    ]
    held = {"schema": "radiograph.suite/1", "suite_name": "kept", "prompts": suite, "generation": {"max_new_tokens": 3}}
    (place / "guard.json").write_text(json.dumps(held))
    outcome = go("intervene", out="rate", **asked, outcome="rate")
    (own,) = outcome.result.features
    rows = read_interventions(place / "rate" / "tables" / "interventions.parquet").table
    assert set(rows["outcome_unit"]) == {"share"} and set(rows["intervened"]) <= {0.0, 1.0}
    assert own.effect >= 0 and own.said.texts == 4 and 0 < own.said.length <= 2
    (guard,) = own.guards
    assert (guard.suite, guard.n) == ("kept", 3) and guard.interval[0] <= guard.drop <= guard.interval[1]
    assert 1 / 3 <= guard.untouched <= 2 / 3 and "Suite kept" in (place / "rate" / "report.html").read_text()
    assert "share of continuations" in (place / "rate" / "report.html").read_text()
    assert verify(place / "rate").exit_code is ExitCode.PASS
    assert go("intervene", out="other-rate", **{**asked, "new_tokens": 1}, order_only=True).result.order != (
        outcome.result.order
    )


def test_a_write_is_carried_to_new_tokens_where_it_is_a_push(place):
    """The slow way: the whole text anew at every token, with the write at every position of it."""
    import torch

    from radiograph import models, organisms
    from radiograph.interventions.features import Pushed, continued, edits_of

    model = models.load("bundled:base", resolve=organisms.bundled_path)
    (site,) = model.sites("resid_post.1")
    prompts = [tuple(models.tokenize(model.tokenizer, text).ids) for text in ("the river is 5", "the long wall is")]
    direction = np.random.default_rng(0).standard_normal((1, model.width)) * 0.8
    for carry in (True, False):
        writes = [[Pushed(site, direction, np.ones((len(ids), 1)))] for ids in prompts]
        found = continued(model, prompts, writes, new=4, carry=carry)
        for ids, made in zip(prompts, found, strict=True):
            text = list(ids)
            for _ in made.ids:
                amount = np.ones((len(text), 1)) if carry else (np.arange(len(text)) < len(ids))[:, None].astype(float)
                with models.edit(model, edits_of({0: [Pushed(site, direction, amount)]})), torch.inference_mode():
                    logits = models.forward(model, models.pad([tuple(text)], device=model.device))
                text.append(int(logits[0, -1].argmax()))
            assert tuple(text[len(ids) :]) == made.ids


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"targets": None}, Refusal, "no default list"),
        ({"outcome": "probe:nowhere.safetensors"}, UserError, "nowhere"),
        ({"outcome": "logprobs"}, UserError, "did you mean logprob"),
        ({"dose": "0"}, UserError, "0 being the placebo"),
        ({"dose": "a,b"}, UserError, "not a list of doses"),
        ({"only": ["mlp_hidden.2[6]"]}, UserError, "did you mean"),
        ({"features": []}, UserError, "no features to move"),
        ({"require": "correlational:confirmed"}, UserError, "causal:GRADE"),
        ({"shard": "3/2"}, UserError, "1 <= i <= n"),
        ({"criterion": None}, UserError, "no criterion"),
        ({"shard": "3/3"}, UserError, "nothing to do"),
        ({"outcome": "feature:units:mlp_hidden.2#5"}, UserError, "show the write itself"),
        ({"outcome": "feature:units:mlp_hidden.0#5"}, UserError, "reads later"),
        ({"only": ["mlp_hidden.2[5]"] * 2}, UserError, "named twice"),
        ({"from_": "run"}, UserError, "inspection"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_bad_input_is_told_and_leaves_nothing(place, change, error, text):
    with pytest.raises(error, match=text) as raised:
        go("intervene", out="bad", **{k: v for k, v in (ASKED | change).items() if v is not None})
    assert raised.value.exit_code is ExitCode.BAD_INPUT
    assert not list(place.glob("bad*"))


def test_a_demand_is_a_gate(place):
    asked = {**ASKED, "features": ["units:mlp_hidden.2#9"], "controls": 0, "rows": 12, "neutral_texts": 2}
    outcome = go("intervene", out="gate", **asked, require="causal:effect")
    assert outcome.exit_code is ExitCode.GATE_FAILED


def killed(place: Path, patch: pytest.MonkeyPatch, after: int, out: str) -> None:
    """A run that ends after so many committed chunks, as a kill would end it."""
    from radiograph.store.vectors import BatchWriter

    commit, count = BatchWriter.commit, iter(range(after + 1))

    def until(self: BatchWriter, *given: Any) -> None:
        if next(count) == after:
            raise KeyboardInterrupt
        commit(self, *given)

    patch.setattr(BatchWriter, "commit", until)
    with pytest.raises(KeyboardInterrupt):
        go("intervene", out=out, **ASKED)
    patch.undo()
    patch.chdir(place)


@pytest.mark.slow
def test_z_candidates_of_an_inspection_are_moved(place):
    known = {key: ASKED[key] for key in ("model", "criterion", "prompts")}
    go("inspect", out="found", **known, features=["units:mlp_hidden.2#0-15"], causal=0, bootstrap=0, cards=1)
    small = {"targets": TARGETS, "controls": 0, "rows": 12, "neutral_texts": 2, "dose": "-1,1"}
    outcome = go("intervene", out="from", model="planted", from_="found", top=2, **small)
    names = [one.feature for one in outcome.result.features]
    table = pl.read_parquet(place / "found" / "tables" / "correlational.parquet").filter("candidate")
    strongest = table.sort(pl.col("discover_z").abs(), "feature_id", descending=[True, False])["feature_id"]
    assert names == strongest[:2].to_list()
    signs = dict(zip(table["feature_id"], table["discover_z"], strict=True))
    assert [one.association for one in outcome.result.order.features] == [signs[name] for name in names]
    with pytest.raises(UserError, match="another model"):
        go("intervene", out="foreign", model="bundled:base", from_="found", **small)
    held = json.loads((place / "found" / "criterion" / "criterion.json").read_bytes())
    assert outcome.result.order.criterion_id == held["id"]
